'use strict';
// Rust's standard library for each architecture that ships: the toolchain brings along this machine's alone.
// `node scripts/rust-targets.js` says whether one cannot be had, and changes nothing.

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
const isThere = (target) => fs.existsSync(ask('rustc', ['--print', 'target-libdir', '--target', target]) ?? '');

/**
 * Adds the standard library for a target where it is missing, or says how.
 * @param {string} target
 * @param {boolean} [look] changes nothing
 */
function ensureTarget(target, look = false) {
  if (isThere(target)) {
    return;
  }
  if (ask('rustup', ['--version']) === undefined) {
    throw new Error(`Rust's standard library for ${target} is missing: install Rust with rustup (https://rustup.rs), then "rustup target add ${target}"`);
  }
  if (!look) {
    run('rustup', ['target', 'add', target], { cwd: WORKSPACE });
  }
}

if (require.main === module) {
  void runMain(() => Object.values(ARCHITECTURES).forEach(({ rust }) => ensureTarget(rust, true)));
}

module.exports = { ensureTarget };
