'use strict';
// Generates API.md and docs/API.python.md. jsii-docgen takes the highest version of each dependency that it finds anywhere
// below a folder, including those of the build tools, and then shows members that the lowest version does not have. So it gets
// a folder with this package and its own dependencies only.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { run, runMain } = require('./run');

const ROOT = path.join(__dirname, '..');

/** What is generated, by jsii-docgen's name of the language. */
const PAGES = { typescript: 'API.md', python: path.join('docs', 'API.python.md') };

function main() {
  const output = path.resolve(process.argv[2] ?? ROOT);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'docgen-'));
  try {
    ['package.json', '.jsii', 'lib'].forEach((name) => fs.cpSync(path.join(ROOT, name), path.join(folder, name), { recursive: true }));
    const { dependencyClosure } = JSON.parse(fs.readFileSync(path.join(ROOT, '.jsii'), 'utf8'));
    for (const name of Object.keys(dependencyClosure).filter((each) => fs.existsSync(path.join(ROOT, 'node_modules', each)))) {
      const link = path.join(folder, 'node_modules', name);
      fs.mkdirSync(path.dirname(link), { recursive: true });
      fs.symlinkSync(path.join(ROOT, 'node_modules', name), link);
    }
    for (const [language, page] of Object.entries(PAGES)) {
      const file = path.join(output, page);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      run(process.execPath, [require.resolve('jsii-docgen/bin/jsii-docgen'), '-l', language, '-o', file], { cwd: folder });
    }
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

void runMain(main);
