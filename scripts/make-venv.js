'use strict';
// Makes .venv, the project's own Python environment, from the requirements below.
// It is made anew when the requirements or the Python change, and left alone otherwise.

const { spawnSync } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const { run, runMain } = require('./run');

const ROOT = path.join(__dirname, '..');
const VENV = path.join(ROOT, '.venv');

/** What builds, what plays AWS for the tests, and what checks the packages. */
const REQUIREMENTS = ['rust/requirements.txt', 'rust/testbed/requirements.txt', 'test/packages/requirements.txt']
  .map((file) => path.join(ROOT, file));

/**
 * What an environment was made from, in one word.
 * @param {string} requirements
 * @param {string} pythonVersion
 */
function fingerprint(requirements, pythonVersion) {
  return crypto.createHash('sha256').update(JSON.stringify([requirements, pythonVersion])).digest('hex');
}

/**
 * Whether an environment is there, complete, and made from this.
 * @param {string} venv
 * @param {string} wanted
 */
function isFresh(venv, wanted) {
  const marker = path.join(venv, '.made-from');
  return fs.existsSync(marker) && fs.readFileSync(marker, 'utf8') === wanted;
}

function main() {
  const python = spawnSync('python3', ['--version'], { encoding: 'utf8' });
  if (python.status !== 0) {
    throw new Error('python3 --version failed: install Python 3 (npx projen preflight names all that is missing)');
  }
  const wanted = fingerprint(REQUIREMENTS.map((file) => fs.readFileSync(file, 'utf8')).join('\n'), python.stdout.trim());
  if (isFresh(VENV, wanted)) {
    return;
  }
  console.log('making .venv (takes about a minute)');
  run('python3', ['-m', 'venv', '--clear', VENV]);
  const requirements = REQUIREMENTS.flatMap((file) => ['-r', file]);
  run(path.join(VENV, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...requirements]);
  // Written last: an environment that was cut off on the way is made again.
  fs.writeFileSync(path.join(VENV, '.made-from'), wanted);
}

if (require.main === module) {
  void runMain(main);
}

module.exports = { VENV, fingerprint, isFresh };
