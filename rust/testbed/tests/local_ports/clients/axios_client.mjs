import axios from 'axios';

void axios.get(process.argv[2], { responseType: 'text' }).then(({ status, data }) => process.stdout.write(`${status} ${data}`));
