'use strict';
// Builds the Rust binaries that ship into rust/target/<triple>/release/, for any architecture from this machine.
// `node scripts/build-rust.js [x86_64|arm64|all]`, by default this machine's architecture.
//
// zig is the C compiler and the linker: it brings along every architecture's musl. All that ships is linked statically: it
// runs whatever the C library there is, or none, and starts before a dynamic linker would have ended.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { ARCHITECTURES, chosenArchitectures } = require('./architecture');
const { run, runMain } = require('./run');
const { ensureTarget } = require('./rust-targets');

const ROOT = path.join(__dirname, '..');
const WORKSPACE = path.join(ROOT, 'rust');
const TOOLS = path.join(ROOT, '.venv', 'bin');

/** @typedef {Record<string, string>} Programs package -> executable */

/** The programs in the zips. They are built as one, so that each crate that they share is compiled once. */
const ZIPPED = /** @type {Programs} */ ({ proxy: 'bootstrap', extension: 'tailscale-extension', caller: 'tailscale-caller' });

/** The package, and the program, for callers outside Lambda: a release carries it beside the zips. */
const PROGRAM = 'tailscale-lambda-caller';
const OUTSIDE = /** @type {Programs} */ ({ [PROGRAM]: PROGRAM });

/** All that ships. */
const SHIPPED = { ...ZIPPED, ...OUTSIDE };

/**
 * The environment of a build: no binary names this machine's folders, so that two checkouts make the same bytes.
 * @param {string} cargoHome
 */
function environment(cargoHome) {
  const registries = path.join(cargoHome, 'registry', 'src');
  const sources = [...fs.readdirSync(registries).sort().map((name) => path.join(registries, name)), path.join(cargoHome, 'git')];
  const names = [...sources.map((folder) => [folder, '/cargo']), [WORKSPACE, '/rust']];
  return {
    ...process.env,
    PATH: [TOOLS, process.env.PATH].join(path.delimiter),
    CARGO_TARGET_DIR: 'target',
    // Separated as cargo wants it where a path may hold a blank.
    CARGO_ENCODED_RUSTFLAGS: names.map(([folder, name]) => `--remap-path-prefix=${folder}=${name}`).join('\x1f'),
  };
}

/**
 * @param {string} architecture
 * @param {Programs} programs
 */
function build(architecture, programs) {
  const target = ARCHITECTURES[architecture].rust;
  if (!fs.existsSync(path.join(TOOLS, 'cargo-zigbuild'))) {
    throw new Error(`${path.join(TOOLS, 'cargo-zigbuild')} is missing: run "npx projen python:venv", which installs it`);
  }
  ensureTarget(target);
  // First, so that the folders which the sources lie in are there to be named.
  run('cargo', ['fetch', '--locked', '--quiet'], { cwd: WORKSPACE });
  const chosen = Object.keys(programs).flatMap((name) => ['-p', name]);
  run('cargo', ['zigbuild', '--locked', '--release', ...chosen, '--target', target], {
    cwd: WORKSPACE, env: environment(process.env.CARGO_HOME ?? path.join(os.homedir(), '.cargo')),
  });
}

/**
 * Builds what is in the zips.
 * @param {string} architecture
 */
const buildRust = (architecture) => build(architecture, ZIPPED);

/**
 * Where a build puts an executable.
 * @param {string} architecture
 * @param {string} name
 */
const executable = (architecture, name) => path.join(WORKSPACE, 'target', ARCHITECTURES[architecture].rust, 'release', name);

/**
 * Builds the program for callers outside Lambda.
 * @param {string} architecture
 * @returns {string} the executable
 */
function buildProgram(architecture) {
  build(architecture, OUTSIDE);
  return executable(architecture, PROGRAM);
}

if (require.main === module) {
  void runMain(() => chosenArchitectures(process.argv[2]).forEach(buildRust));
}

module.exports = { PROGRAM, SHIPPED, buildProgram, buildRust, executable };
