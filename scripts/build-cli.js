'use strict';
// Bundles the command of the package (cli/) into one file, so that it brings no dependencies along, with the licences of
// what is in it: `node scripts/build-cli.js`

const { build } = require('esbuild');
const fs = require('fs');
const path = require('path');
const { render, textsIn } = require('./licence-texts');
const { runMain } = require('./run');

const ROOT = path.join(__dirname, '..');
const BIN = path.join(ROOT, 'bin');
/** What the package's `bin` names. */
const COMMAND = path.join(BIN, 'tailscale-lambda-proxy.js');

/**
 * The folder of the npm package that a file belongs to: the last one below node_modules.
 * @param {string} file
 */
function packageOf(file) {
  return /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1];
}

/**
 * The packages that the bundle was made of.
 * @param {string[]} inputs
 */
function components(inputs) {
  const folders = [...new Set(inputs.map(packageOf).filter((folder) => folder !== undefined))].sort();
  return folders.map((folder) => {
    const { name, version, license } = JSON.parse(fs.readFileSync(path.join(ROOT, folder, 'package.json'), 'utf8'));
    const texts = textsIn(path.join(ROOT, folder));
    if (texts.length === 0) {
      texts.push(fs.readFileSync(path.join(__dirname, 'licences', `${license}.txt`), 'utf8').trimEnd());
    }
    return { name: `${name} ${version} (npm)`, purl: `pkg:npm/${encodeURIComponent(name)}@${version}`, expression: license, texts };
  });
}

async function main() {
  const { metafile } = await build({
    entryPoints: [path.join(ROOT, 'cli', 'main.ts')],
    outfile: COMMAND,
    bundle: true,
    minify: true,
    platform: 'node',
    target: 'node20',
    banner: { js: '#!/usr/bin/env node' },
    metafile: true,
    absWorkingDir: ROOT,
  });
  fs.chmodSync(COMMAND, 0o755);
  fs.writeFileSync(path.join(BIN, 'THIRD-PARTY-LICENSES.txt'), render(components(Object.keys(metafile.inputs))));
}

void runMain(main);
