'use strict';
// Builds what `npm run bench` compares the shipped zips with, for this machine's architecture: a Go handler with tsnet, and
// the bench's target, into tailscaled/dist/; their zips into dist/bench/. With BENCH_PUBLISHED=1 also the published
// Node.js handler, which `npx projen published:fetch` must have fetched.

const fs = require('fs');
const path = require('path');
const { hostArchitecture } = require('./architecture');
const { MODULE, goBuild, goEnvironment, omitTags } = require('./build-tailscaled');
const { run, runMain } = require('./run');
const { writeZip } = require('./zip');

const ROOT = path.join(__dirname, '..');
const PUBLISHED = path.join(ROOT, '.published', 'node_modules', 'tailscale-lambda-proxy', 'assets', 'lambda', 'tailscale-proxy');

/** Left out of the daemon that ships, but tsnet does not compile without them. */
const TSNET = ['ts_omit_acme', 'ts_omit_serve'];

function main() {
  const architecture = hostArchitecture();
  const features = omitTags(fs.readFileSync(path.join(MODULE, 'features.txt'), 'utf8'));
  // As small as it gets, as what ships is: the peer's start is measured too.
  const tags = features.filter((tag) => !TSNET.includes(tag));
  run('go', ['vet', '-trimpath', './bench/...'], { cwd: MODULE, env: goEnvironment(architecture) });
  goBuild({ architecture, output: 'bench-peer', source: './bench/peer', tags });
  goBuild({ architecture, output: 'bench-target', source: './bench/target', tags: [] });
  const zips = path.join(ROOT, 'dist', 'bench', architecture);
  writeZip(path.join(zips, 'go.zip'), { bootstrap: path.join(MODULE, 'dist', architecture, 'bench-peer') });
  if (process.env.BENCH_PUBLISHED === '1') {
    const handler = path.join(PUBLISHED, 'index.js');
    if (!fs.existsSync(handler)) {
      throw new Error(`${handler} is missing: run "npx projen python:venv" and "npx projen published:fetch", which fetches it`);
    }
    const runtime = path.join(__dirname, 'bench');
    writeZip(path.join(zips, 'node.zip'), {
      'bootstrap': path.join(runtime, 'bootstrap.sh'),
      'runtime.js': path.join(runtime, 'runtime.js'),
      'index.js': handler,
    });
  }
}

void runMain(main);
