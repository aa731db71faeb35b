'use strict';
// Builds the Rust binaries that ship into rust/target/<triple>/release/, for any architecture from this machine.
// `node scripts/build-rust.js [x86_64|arm64|all]`, by default this machine's architecture.
//
// zig is the C compiler and the linker: it brings along every architecture's libraries, and those of the glibc that
// Lambda's provided.al2023 has, whatever this machine's own are.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { ARCHITECTURES, chosenArchitectures } = require('./architecture');
const { run, runMain } = require('./run');
const { ensureTarget } = require('./rust-targets');

const ROOT = path.join(__dirname, '..');
const WORKSPACE = path.join(ROOT, 'rust');
const TOOLS = path.join(ROOT, '.venv', 'bin');

/** The packages in the zips. */
const SHIPPED = ['proxy', 'extension', 'caller'];

/** The package, and the program, for callers outside Lambda: a release carries it beside the zips. */
const PROGRAM = 'tailscale-lambda-caller';

/** The glibc of provided.al2023: what is linked against a newer one does not start there. */
const GLIBC = '2.34';

/**
 * What stands in a binary in place of this machine's folders, so that two checkouts make the same bytes.
 * @param {string} cargoHome
 * @param {string} workspace
 * @returns {[string, string][]} folder -> name
 */
function neutralNames(cargoHome, workspace) {
  const registries = path.join(cargoHome, 'registry', 'src');
  return [...fs.readdirSync(registries).sort().map((name) => path.join(registries, name)), path.join(cargoHome, 'git')]
    .map((folder) => /** @type {[string, string]} */ ([folder, '/cargo']))
    .concat([[workspace, '/rust']]);
}

/**
 * The environment of a build.
 * @param {[string, string][]} names folder -> name
 */
function environment(names) {
  // Separated as cargo wants it where a path may hold a blank.
  const rustflags = names.map(([folder, name]) => `--remap-path-prefix=${folder}=${name}`).join('\x1f');
  return {
    ...process.env,
    PATH: [TOOLS, process.env.PATH].join(path.delimiter),
    CARGO_TARGET_DIR: 'target',
    CARGO_ENCODED_RUSTFLAGS: rustflags,
  };
}

/**
 * @param {string} target the triple
 * @param {string} zigTarget the same, with the version of the C library if there is one
 * @param {string[]} packages
 */
function build(target, zigTarget, packages) {
  if (!fs.existsSync(path.join(TOOLS, 'cargo-zigbuild'))) {
    throw new Error(`${path.join(TOOLS, 'cargo-zigbuild')} is missing: run "npx projen python:venv", which installs it`);
  }
  ensureTarget(target);
  // First, so that the folders which the sources lie in are there to be named.
  run('cargo', ['fetch', '--locked', '--quiet'], { cwd: WORKSPACE });
  const cargoHome = process.env.CARGO_HOME ?? path.join(os.homedir(), '.cargo');
  const chosen = packages.flatMap((name) => ['-p', name]);
  run('cargo', ['zigbuild', '--locked', '--release', ...chosen, '--target', zigTarget], {
    cwd: WORKSPACE, env: environment(neutralNames(cargoHome, WORKSPACE)),
  });
}

/** @param {string} architecture */
function buildRust(architecture) {
  const target = ARCHITECTURES[architecture].rust;
  build(target, `${target}.${GLIBC}`, SHIPPED);
}

/**
 * Builds the program for callers outside Lambda, linked statically: it runs whatever the C library there is.
 * @param {string} architecture
 * @returns {string} the executable
 */
function buildProgram(architecture) {
  const target = ARCHITECTURES[architecture].rustStatic;
  build(target, target, [PROGRAM]);
  return path.join(WORKSPACE, 'target', target, 'release', PROGRAM);
}

/**
 * Where a build's binaries are.
 * @param {string} architecture
 */
function rustBinaries(architecture) {
  return path.join(WORKSPACE, 'target', ARCHITECTURES[architecture].rust, 'release');
}

if (require.main === module) {
  void runMain(() => chosenArchitectures(process.argv[2]).forEach(buildRust));
}

module.exports = { PROGRAM, SHIPPED, buildProgram, buildRust, neutralNames, rustBinaries };
