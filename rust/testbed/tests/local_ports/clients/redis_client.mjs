// node-redis at the local port that it is told: runs each command that it is told, and says its answer.
import { createClient } from 'redis';
import { answerLines } from './lines.mjs';

const client = createClient({ socket: { host: '127.0.0.1', port: Number(process.argv[2]) } });
// It connects anew by itself; without a listener the process would end.
client.on('error', () => {});
void client.connect().then(() => answerLines((line) => client.sendCommand(line.split(' '))));
