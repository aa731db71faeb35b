'use strict';
// Rust's standard library for each architecture that ships: the toolchain brings along this machine's alone.
// `node scripts/rust-targets.js` says which cannot be had, and changes nothing.

const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');
const { ARCHITECTURES } = require('./architecture');
const { run, runMain } = require('./run');

const WORKSPACE = path.join(__dirname, '..', 'rust');

/**
 * The output of a command, or undefined if it failed.
 * @param {string} program
 * @param {string[]} args
 */
function ask(program, args) {
  const result = spawnSync(program, args, { cwd: WORKSPACE, encoding: 'utf8' });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

/**
 * Whether the toolchain has the standard library for a target.
 * @param {string} target
 */
function isThere(target) {
  const libraries = ask('rustc', ['--print', 'target-libdir', '--target', target]);
  return libraries !== undefined && fs.existsSync(libraries);
}

/**
 * What to do about a target that is not there.
 * @param {string} target
 */
function remedy(target) {
  return `Rust's standard library for ${target} is missing: install Rust with rustup (https://rustup.rs), then "rustup target add ${target}"`;
}

/**
 * Adds the standard library for a target where it is missing.
 * @param {string} target
 */
function ensureTarget(target) {
  if (isThere(target)) {
    return;
  }
  if (ask('rustup', ['--version']) === undefined) {
    throw new Error(remedy(target));
  }
  run('rustup', ['target', 'add', target], { cwd: WORKSPACE });
}

function main() {
  const missing = Object.values(ARCHITECTURES).map(({ rust }) => rust).filter((target) => !isThere(target));
  if (missing.length > 0 && ask('rustup', ['--version']) === undefined) {
    throw new Error(missing.map(remedy).join('\n'));
  }
}

if (require.main === module) {
  void runMain(main);
}

module.exports = { ensureTarget };
