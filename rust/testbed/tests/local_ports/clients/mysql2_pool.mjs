// mysql2 with its own pool, of one connection, to the local port that it is told: runs each statement that it is told, and says its
// value. With the server's name and a file of certificates it checks that name by TLS.
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import mysql from 'mysql2/promise';
import { answerLines } from './lines.mjs';

const [port, name, ca] = process.argv.slice(2);
// host is the name that is checked; the socket goes to the local port.
const verified = name && {
  host: name, ssl: { ca: readFileSync(ca), verifyIdentity: true }, stream: () => connect(Number(port), '127.0.0.1'),
};
const pool = mysql.createPool({
  host: '127.0.0.1', port, user: 'app', connectionLimit: 1, connectTimeout: 15_000, rowsAsArray: true, ...verified,
});
void answerLines(async (sql) => {
  const [[[...values]]] = await pool.query({ sql, timeout: 15_000 });
  return values.at(-1);
});
