'use strict';
// Lambda's Runtime API for a Node.js handler: fetches an event, calls the handler, posts its response.

const http = require('http');
const path = require('path');
// The published handler, which is beside this file in the zip alone.
const { handler } = require(path.join(__dirname, 'index.js'));

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const [hostname, port] = /** @type {string} */ (process.env.AWS_LAMBDA_RUNTIME_API).split(':');

/**
 * One call of the Runtime API.
 * @param {string} method
 * @param {string} what
 * @param {string} [body]
 * @returns {Promise<{ headers: http.IncomingHttpHeaders, text: string }>}
 */
function call(method, what, body) {
  return new Promise((resolve, reject) => {
    const called = `/2018-06-01/runtime/invocation/${what}`;
    const headers = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
    const request = http.request({ agent, hostname, port, method, path: called, headers }, (response) => {
      /** @type {Buffer[]} */
      const pieces = [];
      response.on('data', (piece) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () => resolve({ headers: response.headers, text: Buffer.concat(pieces).toString() }));
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function main() {
  for (;;) {
    const { headers, text } = await call('GET', 'next');
    const id = headers['lambda-runtime-aws-request-id'];
    try {
      await call('POST', `${id}/response`, JSON.stringify(await handler(JSON.parse(text), {})));
    } catch (error) {
      await call('POST', `${id}/error`, JSON.stringify({ errorType: 'Error', errorMessage: String(error) }));
    }
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
