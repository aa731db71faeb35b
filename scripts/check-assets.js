'use strict';
// Refuses to pack zips that are missing, that hold something else than executables for their architecture, that need a C
// library which may not be there, or that are over the size budget.
// `node scripts/check-assets.js`

const fs = require('fs');
const path = require('path');
const { buffer } = require('stream/consumers');
const yauzl = require('yauzl');
const { ARCHITECTURES } = require('./architecture');
const { ASSETS, contents } = require('./build-layers');
const { FILE: LICENCES } = require('./collect-licences');
const { runMain } = require('./run');

/** The zips that a function is started from, and what they may weigh together, in bytes. */
const BUDGETS = [
  { zips: ['proxy.zip', 'extension.zip'], budget: 12_000_000 },
  { zips: ['caller.zip'], budget: 3_000_000 },
];

/** A program header that names a dynamic loader (elf(5)). */
const PT_INTERP = 3;

/**
 * Everything in a zip.
 * @param {string} zip
 */
async function filesIn(zip) {
  const archive = await yauzl.openPromise(zip);
  const files = [];
  for await (const entry of archive.eachEntry()) {
    const content = await buffer(await archive.openReadStreamPromise(entry));
    files.push({ name: entry.fileName, mode: entry.externalFileAttributes >>> 16, content });
  }
  return files;
}

/**
 * What an executable's header says it was built for, or what is wrong with it (elf(5)).
 * @param {Buffer} content
 */
function builtFor(content) {
  if (content.length < 20 || content.readUInt32BE(0) !== 0x7f454c46 || content[4] !== 2) {
    return 'no 64-bit ELF executable';
  }
  const machine = content.readUInt16LE(18);
  const known = Object.entries(ARCHITECTURES).find(([, { elf }]) => elf === machine);
  return known ? `built for ${known[0]}` : `built for machine ${machine}`;
}

/**
 * Whether a 64-bit executable is started by a dynamic loader: it takes longer to start, and needs a C library, of which
 * other runtimes and images have another one, or none.
 * @param {Buffer} content
 */
function isDynamic(content) {
  const [offset, size, count] = [Number(content.readBigUInt64LE(32)), content.readUInt16LE(54), content.readUInt16LE(56)];
  return Array.from({ length: count }, (_, index) => content.readUInt32LE(offset + index * size)).includes(PT_INTERP);
}

/**
 * What is wrong with one file in a zip.
 * @param {string} architecture
 * @param {{ name: string, mode: number, content: Buffer }} file
 */
function problemsOf(architecture, { name, mode, content }) {
  const found = builtFor(content);
  const right = found === `built for ${architecture}`;
  return [
    (mode & 0o111) !== 0o111 && `${name} is not executable (mode ${mode.toString(8)})`,
    !right && `${name} is ${found}`,
    right && isDynamic(content) && `${name} needs a C library, and must be linked statically`,
  ].filter((problem) => problem !== false);
}

/**
 * What is wrong with one zip.
 * @param {string} assets
 * @param {string} architecture
 * @param {string} name
 * @param {string[]} expected the files that it must hold
 * @returns {Promise<string[]>}
 */
async function zipProblems(assets, architecture, name, expected) {
  const zip = path.join(assets, architecture, name);
  if (!fs.existsSync(zip)) {
    return [`${zip} is missing`];
  }
  const files = await filesIn(zip);
  const held = files.map((file) => file.name).sort().join(', ');
  const wanted = [...expected].sort().join(', ');
  const other = held === wanted ? [] : [`it holds ${held}, and must hold ${wanted}`];
  return [...other, ...files.flatMap((file) => problemsOf(architecture, file))].map((problem) => `${zip}: ${problem}`);
}

/**
 * Whether the zips of an architecture that belong together are within their budgets.
 * @param {string} assets
 * @param {string} architecture
 */
function weightProblems(assets, architecture) {
  return BUDGETS.flatMap(({ zips, budget }) => {
    const files = zips.map((name) => path.join(assets, architecture, name)).filter((zip) => fs.existsSync(zip));
    const bytes = files.reduce((sum, zip) => sum + fs.statSync(zip).size, 0);
    return bytes <= budget ? [] : [`${zips.join(' and ')} of ${architecture} have ${bytes} bytes together, and may have ${budget}`];
  });
}

/**
 * Everything that is wrong with the zips below a folder.
 * @param {string} assets
 * @returns {Promise<string[]>}
 */
async function assetProblems(assets) {
  const problems = [];
  for (const architecture of Object.keys(ARCHITECTURES)) {
    for (const [name, files] of Object.entries(contents(architecture))) {
      problems.push(...await zipProblems(assets, architecture, name, Object.keys(files)));
    }
    problems.push(...weightProblems(assets, architecture));
  }
  return problems;
}

async function main() {
  const problems = [...await assetProblems(ASSETS), ...fs.existsSync(LICENCES) ? [] : [`${LICENCES} is missing`]];
  if (problems.length > 0) {
    throw new Error(`not fit to be packed ("npx projen layers:build:all" builds all of it):\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
  }
}

if (require.main === module) {
  void runMain(main);
}

module.exports = { BUDGETS, assetProblems };
