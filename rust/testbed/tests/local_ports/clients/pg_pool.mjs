// node-postgres with its own pool, of one connection, to the local port that it is told: runs each query that it is told, and says
// its value. With the server's name and a file of certificates it checks that name by TLS.
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { answerLines } from './lines.mjs';

const [port, servername, ca] = process.argv.slice(2);
const pool = new pg.Pool({
  host: '127.0.0.1', port, user: 'app', database: 'postgres', max: 1, query_timeout: 15_000, connectionTimeoutMillis: 15_000,
  ssl: servername && { servername, ca: readFileSync(ca) },
});
// A connection that dies while nobody uses it: the pool drops it, and without a listener the process would end.
pool.on('error', () => {});
void answerLines(async (text) => (await pool.query({ text, rowMode: 'array' })).rows[0][0]);
