'use strict';
// Refuses a tarball for npm that is over the size budget.
// `node scripts/check-tarball.js`

const fs = require('fs');
const path = require('path');
const { runMain } = require('./run');

const PACKED = path.join(__dirname, '..', 'dist', 'js');
/** What npm and PyPI are given, at most, in bytes. */
const BUDGET = 30_000_000;

/**
 * Everything that is wrong with the tarballs in a folder.
 * @param {string} folder
 * @returns {string[]}
 */
function tarballProblems(folder) {
  const tarballs = fs.existsSync(folder) ? fs.readdirSync(folder).filter((name) => name.endsWith('.tgz')) : [];
  if (tarballs.length === 0) {
    return [`${folder} holds no tarball`];
  }
  return tarballs
    .map((name) => ({ name, bytes: fs.statSync(path.join(folder, name)).size }))
    .filter(({ bytes }) => bytes > BUDGET)
    .map(({ name, bytes }) => `${name} has ${bytes} bytes, and may have ${BUDGET}`);
}

async function main() {
  const problems = tarballProblems(PACKED);
  if (problems.length > 0) {
    throw new Error(`not fit to be published: ${problems.join('; ')}`);
  }
}

if (require.main === module) {
  void runMain(main);
}

module.exports = { BUDGET, tarballProblems };
