'use strict';
// Makes .venv, the project's own Python environment, from the requirements below: `node scripts/make-venv.js`, and with
// `build` only what builds. It is made anew when the requirements or the Python change, and left alone otherwise.

const { spawnSync } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const { run, runMain } = require('./run');

const ROOT = path.join(__dirname, '..');
const VENV = path.join(ROOT, '.venv');
const MADE_FROM = path.join(VENV, '.made-from');

/** What builds; then what plays AWS for the tests, and what checks the packages. */
const STAGES = [['rust/requirements.txt'], ['rust/testbed/requirements.txt', 'test/packages/requirements.txt']]
  .map((files) => files.map((file) => path.join(ROOT, file)));

/**
 * What an environment was made from, in one word.
 * @param {string} requirements
 * @param {string} pythonVersion
 */
function fingerprint(requirements, pythonVersion) {
  return crypto.createHash('sha256').update(JSON.stringify([requirements, pythonVersion])).digest('hex');
}

/** @param {number} last the stage to install up to */
function main(last) {
  const python = spawnSync('python3', ['--version'], { encoding: 'utf8' });
  if (python.status !== 0) {
    throw new Error('python3 --version failed: install Python 3 (npx projen preflight names all that is missing)');
  }
  const wanted = STAGES.map((files) => fingerprint(files.map((file) => fs.readFileSync(file, 'utf8')).join('\n'), python.stdout.trim()));
  const made = fs.existsSync(MADE_FROM) ? fs.readFileSync(MADE_FROM, 'utf8').split('\n') : [];
  // An environment of other requirements has nothing that counts.
  const done = made.every((from, stage) => from === wanted[stage]) ? made.length : 0;
  if (done > last) {
    return;
  }
  console.log('making .venv (takes about a minute)');
  if (done === 0) {
    run('python3', ['-m', 'venv', '--clear', VENV]);
  }
  const requirements = STAGES.slice(done, last + 1).flat().flatMap((file) => ['-r', file]);
  run(path.join(VENV, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', '--no-compile', '--disable-pip-version-check', ...requirements]);
  // Written last: an environment that was cut off on the way is made again.
  fs.writeFileSync(MADE_FROM, wanted.slice(0, last + 1).join('\n'));
}

if (require.main === module) {
  void runMain(() => main(process.argv[2] === 'build' ? 0 : STAGES.length - 1));
}

module.exports = { VENV, fingerprint };
