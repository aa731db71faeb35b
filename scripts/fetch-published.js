'use strict';
// Puts the published constructs that deployed stacks were made with into .published/, for the tests to compare with.
// They come from PyPI: a jsii wheel holds the JavaScript package whole.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { fingerprint, VENV } = require('./make-venv');
const { run, runMain } = require('./run');

const ROOT = path.join(__dirname, '..');
const PUBLISHED = path.join(ROOT, '.published');
const MADE_FROM = path.join(PUBLISHED, '.made-from');
const REQUIREMENTS = path.join(ROOT, 'test', 'fixtures', 'published.txt');

/**
 * Unpacks the JavaScript package in a wheel into a node_modules folder.
 * @param {string} python
 * @param {string} wheel
 * @param {string} nodeModules
 */
function unpack(python, wheel, nodeModules) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wheel-'));
  try {
    run(python, ['-m', 'zipfile', '-e', wheel, folder]);
    const module = path.basename(wheel).split('-')[0];
    const jsii = path.join(folder, module, '_jsii');
    const [tarball] = fs.readdirSync(jsii).filter((name) => name.endsWith('.jsii.tgz'));
    run(python, ['-m', 'tarfile', '-e', path.join(jsii, tarball), folder]);
    fs.cpSync(path.join(folder, 'package'), path.join(nodeModules, module.replaceAll('_', '-')), { recursive: true });
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

function main() {
  const wanted = fingerprint(fs.readFileSync(REQUIREMENTS, 'utf8'), '');
  if (fs.existsSync(MADE_FROM) && fs.readFileSync(MADE_FROM, 'utf8') === wanted) {
    return;
  }
  console.log('fetching the published constructs');
  fs.rmSync(PUBLISHED, { recursive: true, force: true });
  const python = path.join(VENV, 'bin', 'python');
  const wheels = path.join(PUBLISHED, 'wheels');
  run(python, ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps', '--require-hashes', '-r', REQUIREMENTS, '-d', wheels]);
  // A folder named node_modules: what is in it finds the CDK as an installed package does, and is none of jest's.
  const nodeModules = path.join(PUBLISHED, 'node_modules');
  fs.readdirSync(wheels).forEach((wheel) => unpack(python, path.join(wheels, wheel), nodeModules));
  fs.rmSync(wheels, { recursive: true });
  // Written last: what was cut off on the way is fetched again.
  fs.writeFileSync(MADE_FROM, wanted);
}

void runMain(main);
