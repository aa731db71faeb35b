'use strict';
// Generates API.md. jsii-docgen takes the highest version of each dependency that it finds anywhere below a folder, the build
// tools' own included, and then shows members that the lowest version has not. So it is shown a folder with what is installed
// for this package alone.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { run, runMain } = require('./run');

const ROOT = path.join(__dirname, '..');

/**
 * Copies what jsii-docgen reads of a package.
 * @param {string} from
 * @param {string} to
 */
function copyAssembly(from, to) {
  fs.mkdirSync(to, { recursive: true });
  for (const file of ['package.json', '.jsii', '.jsii.gz'].filter((name) => fs.existsSync(path.join(from, name)))) {
    fs.copyFileSync(path.join(from, file), path.join(to, file));
  }
}

function main() {
  const output = path.resolve(process.argv[2] ?? path.join(ROOT, 'API.md'));
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'docgen-'));
  try {
    copyAssembly(ROOT, folder);
    const { dependencyClosure } = JSON.parse(fs.readFileSync(path.join(ROOT, '.jsii'), 'utf8'));
    for (const name of Object.keys(dependencyClosure)) {
      copyAssembly(path.join(ROOT, 'node_modules', name), path.join(folder, 'node_modules', name));
    }
    run(process.execPath, [require.resolve('jsii-docgen/bin/jsii-docgen'), '-o', output], { cwd: folder });
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

if (require.main === module) {
  void runMain(main);
}
