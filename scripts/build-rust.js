'use strict';
// Builds the Rust binaries that ship into rust/target/<triple>/release/, for any architecture from this machine.
// `node scripts/build-rust.js [x86_64|arm64|all]`, by default this machine's architecture.
//
// zig is the C compiler and the linker: it brings along every architecture's libraries, those of the glibc that Lambda's
// provided.al2023 has, whatever this machine's own are, and musl's to link with statically.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { ARCHITECTURES, chosenArchitectures } = require('./architecture');
const { run, runMain } = require('./run');
const { ensureTarget } = require('./rust-targets');

const ROOT = path.join(__dirname, '..');
const WORKSPACE = path.join(ROOT, 'rust');
const TOOLS = path.join(ROOT, '.venv', 'bin');

/**
 * What ships of one linkage.
 * @typedef {object} Linkage
 * @property {'rust' | 'rustStatic'} target the triple, as architecture.js names it
 * @property {string} [glibc] the version of glibc that it is linked against: where that is older, it does not start
 * @property {Record<string, string>} programs package -> executable
 */

/** The zips' programs that run in the proxy's own function alone, by the glibc of its runtime, provided.al2023. */
const PROXY = /** @type {Linkage} */ ({ target: 'rust', glibc: '2.34', programs: { proxy: 'bootstrap' } });

/** Those of the layers, linked statically: other functions' runtimes and images have another C library, or none. */
const LAYERS = /** @type {Linkage} */ ({ target: 'rustStatic', programs: { extension: 'tailscale-extension', caller: 'tailscale-caller' } });

/** The package, and the program, for callers outside Lambda: a release carries it beside the zips. */
const PROGRAM = 'tailscale-lambda-caller';
const OUTSIDE = /** @type {Linkage} */ ({ target: 'rustStatic', programs: { [PROGRAM]: PROGRAM } });

/** All that ships. */
const SHIPPED = [PROXY, LAYERS, OUTSIDE];

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
 * @param {string} architecture
 * @param {Linkage} linkage
 */
function build(architecture, { target: name, glibc, programs }) {
  const target = ARCHITECTURES[architecture][name];
  if (!fs.existsSync(path.join(TOOLS, 'cargo-zigbuild'))) {
    throw new Error(`${path.join(TOOLS, 'cargo-zigbuild')} is missing: run "npx projen python:venv", which installs it`);
  }
  ensureTarget(target);
  // First, so that the folders which the sources lie in are there to be named.
  run('cargo', ['fetch', '--locked', '--quiet'], { cwd: WORKSPACE });
  const cargoHome = process.env.CARGO_HOME ?? path.join(os.homedir(), '.cargo');
  const chosen = Object.keys(programs).flatMap((name) => ['-p', name]);
  run('cargo', ['zigbuild', '--locked', '--release', ...chosen, '--target', glibc ? `${target}.${glibc}` : target], {
    cwd: WORKSPACE, env: environment(neutralNames(cargoHome, WORKSPACE)),
  });
}

/**
 * Builds what is in the zips.
 * @param {string} architecture
 */
function buildRust(architecture) {
  build(architecture, PROXY);
  build(architecture, LAYERS);
}

/**
 * Where a build puts its executables: name -> file.
 * @param {string} architecture
 * @param {Linkage[]} linkages
 */
function executables(architecture, linkages) {
  return Object.fromEntries(linkages.flatMap(({ target, programs }) => Object.values(programs).map((name) => (
    [name, path.join(WORKSPACE, 'target', ARCHITECTURES[architecture][target], 'release', name)]))));
}

/**
 * Where the executables in the zips are: name -> file.
 * @param {string} architecture
 */
function rustBinaries(architecture) {
  return executables(architecture, [PROXY, LAYERS]);
}

/**
 * Builds the program for callers outside Lambda, linked statically: it runs whatever the C library there is.
 * @param {string} architecture
 * @returns {string} the executable
 */
function buildProgram(architecture) {
  build(architecture, OUTSIDE);
  return executables(architecture, [OUTSIDE])[PROGRAM];
}

if (require.main === module) {
  void runMain(() => chosenArchitectures(process.argv[2]).forEach(buildRust));
}

module.exports = { PROGRAM, SHIPPED, buildProgram, buildRust, neutralNames, rustBinaries };
