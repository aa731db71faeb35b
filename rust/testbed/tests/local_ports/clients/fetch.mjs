const response = await fetch(process.argv[2]);
process.stdout.write(`${response.status} ${await response.text()}`);
