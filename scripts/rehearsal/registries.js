'use strict';
// npm (verdaccio) and PyPI (pypiserver) on this machine, and what lets a workflow publish without a stored token: GitHub's
// identity tokens, and the registries' exchange of these for tokens of their own. What is not published here comes from
// the registries that this machine uses.

const { spawn, spawnSync } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const net = require('net');
const path = require('path');
const { json } = require('stream/consumers');

/** How long a registry may take until it listens, in milliseconds. */
const START_LIMIT_MS = 60_000;

/**
 * @typedef {object} Registries
 * @property {string} npm host and port of npm's registry
 * @property {string} pypi host and port of PyPI
 * @property {NodeJS.ProcessEnv} identity what a job with `id-token: write` finds in its environment
 * @property {string} mint where PyPI's tokens come from
 * @property {() => void} stop
 */

/** @returns {Promise<number>} */
async function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer().once('error', reject).listen(0, '127.0.0.1', () => {
      const { port } = /** @type {net.AddressInfo} */ (server.address());
      server.close(() => resolve(port));
    });
  });
}

/**
 * Starts a server, and waits until it answers.
 * @param {string} program
 * @param {string[]} args
 * @param {string} log
 * @param {string} url
 */
async function serve(program, args, log, url) {
  const file = fs.openSync(log, 'w');
  const child = spawn(program, args, { stdio: ['ignore', file, file] });
  fs.closeSync(file);
  const deadline = Date.now() + START_LIMIT_MS;
  while (!await fetch(url).catch(() => undefined)) {
    if (child.exitCode !== null || Date.now() > deadline) {
      throw new Error(`${url} does not answer: ${fs.readFileSync(log, 'utf8').slice(-2000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return child;
}

/**
 * Starts verdaccio. The package comes from here alone, whoever else has published one of its name.
 * @param {string} tools
 * @param {string} folder
 * @param {string} name the package's
 */
async function startNpm(tools, folder, name) {
  const upstream = spawnSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).stdout.trim();
  const port = await freePort();
  const config = {
    storage: path.join(folder, 'storage'),
    uplinks: { upstream: { url: upstream, timeout: '60s' } },
    packages: {
      [name]: { access: '$all', publish: '$all' },
      '**': { access: '$all', proxy: 'upstream' },
    },
    max_body_size: '100mb',
    log: { type: 'stdout', format: 'pretty', level: 'warn' },
  };
  const file = path.join(folder, 'verdaccio.yaml');
  // YAML holds JSON.
  fs.writeFileSync(file, JSON.stringify(config));
  const program = path.join(tools, 'node_modules', '.bin', 'verdaccio');
  const args = ['--config', file, '--listen', `127.0.0.1:${port}`];
  const child = await serve(program, args, path.join(folder, 'verdaccio.log'), `http://127.0.0.1:${port}/-/ping`);
  return { child, port };
}

/**
 * Starts pypiserver, which takes uploads with the token and sends who asks for another package to PyPI.
 * @param {string} tools
 * @param {string} folder
 * @param {string} token
 */
async function startPypi(tools, folder, token) {
  const port = await freePort();
  const passwords = path.join(folder, 'htpasswd');
  fs.writeFileSync(passwords, `__token__:{SHA}${crypto.createHash('sha1').update(token).digest('base64')}\n`);
  const packages = path.join(folder, 'pypi');
  fs.mkdirSync(packages);
  const { stdout } = spawnSync('python3', ['-m', 'pip', 'config', 'get', 'global.index-url'], { encoding: 'utf8' });
  const fallback = stdout.trim() ? ['--fallback-url', stdout.trim()] : [];
  const args = ['run', '-i', '127.0.0.1', '-p', String(port), '-a', 'update', '-P', passwords, ...fallback, packages];
  const program = path.join(tools, 'venv', 'bin', 'pypi-server');
  const child = await serve(program, args, path.join(folder, 'pypiserver.log'), `http://127.0.0.1:${port}/health`);
  return { child, port };
}

/**
 * What says for whom a workflow may publish: a token of JWT's form.
 * @param {string} audience who may take it
 * @param {string} signature
 */
function identityFor(audience, signature) {
  return [{ alg: 'none' }, { aud: audience }, signature].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
}

/**
 * Starts both registries, and what stands before npm's: it gives a workflow its identity, takes that for a token, and
 * lets nobody else publish.
 * @param {string} tools where verdaccio and pypiserver are installed
 * @param {string} folder for what they keep
 * @param {string} name the package's
 * @returns {Promise<Registries>}
 */
async function startRegistries(tools, folder, name) {
  const [runner, signature, npmToken, pypiToken] = [1, 2, 3, 4].map(() => crypto.randomUUID());
  fs.mkdirSync(folder, { recursive: true });
  const npm = await startNpm(tools, folder, name);
  const pypi = await startPypi(tools, folder, pypiToken);

  /** @type {http.RequestListener} */
  const listener = (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    const bearer = request.headers.authorization?.replace(/^Bearer /i, '');
    const answer = (/** @type {number} */ status, /** @type {object} */ body) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    if (pathname === '/identity') {
      return bearer === runner ? answer(200, { value: identityFor(searchParams.get('audience') ?? '', signature) }) : answer(401, { message: 'the runner\'s token is missing' });
    }
    if (pathname === `/-/npm/v1/oidc/token/exchange/package/${name}`) {
      return bearer === identityFor('npm:127.0.0.1', signature) ? answer(201, { token: npmToken }) : answer(401, { message: 'no identity of a trusted workflow' });
    }
    if (pathname === '/_/oidc/mint-token') {
      void json(request).then((body) => /** @type {any} */ (body).token === identityFor('pypi', signature)
        ? answer(200, { success: true, token: pypiToken }) : answer(422, { message: 'no identity of a trusted workflow' }));
      return undefined;
    }
    if (request.method === 'PUT' && bearer !== npmToken) {
      return answer(401, { error: 'only who has exchanged an identity for a token may publish' });
    }
    const { authorization: _, ...headers } = request.headers;
    const onward = http.request({ host: '127.0.0.1', port: npm.port, method: request.method, path: request.url, headers }, (from) => {
      response.writeHead(from.statusCode ?? 502, from.headers);
      from.pipe(response);
    });
    onward.once('error', (error) => response.headersSent ? response.destroy(error) : answer(502, { error: error.message }));
    request.pipe(onward);
    return undefined;
  };
  const front = http.createServer(listener);
  await new Promise((resolve) => front.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {net.AddressInfo} */ (front.address());
  return {
    npm: `127.0.0.1:${port}`,
    pypi: `127.0.0.1:${pypi.port}`,
    identity: {
      GITHUB_ACTIONS: 'true',
      ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${port}/identity?api-version=1`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: runner,
    },
    mint: `http://127.0.0.1:${port}/_/oidc/mint-token`,
    stop() {
      [npm, pypi].forEach(({ child }) => child.kill());
      front.close();
      front.closeAllConnections();
    },
  };
}

module.exports = { startRegistries };
