'use strict';
// Zips what ships into assets/<architecture>/. Equal binaries make equal zips, byte for byte: a rebuild of the same
// source keeps its CDK asset hash, and a deployment that changes nothing uploads nothing.
// `node scripts/build-layers.js [x86_64|arm64|all]`, by default this machine's architecture. tailscaled must be built.

const fs = require('fs');
const path = require('path');
const { chosenArchitectures } = require('./architecture');
const { buildRust, executable } = require('./build-rust');
const { runMain } = require('./run');
const { writeZip } = require('./zip');

const ROOT = path.join(__dirname, '..');
const ASSETS = path.join(ROOT, 'assets');

/** What decides how a zip comes out, beside its contents. */
const WRITERS = [__filename, path.join(__dirname, 'zip.js')];

/**
 * The zips of one architecture: name -> (path inside -> file), all of them executables.
 * @param {string} architecture
 * @returns {Record<string, Record<string, string>>}
 */
function contents(architecture) {
  return {
    'proxy.zip': { bootstrap: executable(architecture, 'bootstrap') },
    // Lambda unpacks a layer under /opt, and starts what it finds in /opt/extensions.
    'extension.zip': {
      'bin/tailscaled': path.join(ROOT, 'tailscaled', 'dist', architecture, 'tailscaled'),
      'extensions/tailscale-extension': executable(architecture, 'tailscale-extension'),
    },
    // The layer of callers.
    'caller.zip': { 'extensions/tailscale-caller': executable(architecture, 'tailscale-caller') },
  };
}

/**
 * Whether a file is newer than all that it is made of. (cargo and go leave alone what has not changed.)
 * @param {string} target
 * @param {string[]} sources
 */
function isFresh(target, sources) {
  const changed = fs.statSync(target, { throwIfNoEntry: false })?.mtimeMs;
  return changed !== undefined && sources.every((source) => fs.statSync(source).mtimeMs < changed);
}

/** @param {string} architecture */
function buildLayers(architecture) {
  // Cargo knows what is stale: no zip ever holds binaries of older sources.
  buildRust(architecture);
  for (const [name, files] of Object.entries(contents(architecture))) {
    const missing = Object.values(files).filter((file) => !fs.existsSync(file));
    if (missing.length > 0) {
      throw new Error(`${missing.join(', ')} is missing: run "npx projen tailscaled:build ${architecture}", which builds it`);
    }
    const target = path.join(ASSETS, architecture, name);
    if (isFresh(target, [...Object.values(files), ...WRITERS])) {
      continue;
    }
    writeZip(target, files);
    console.log(`${path.relative(ROOT, target)} ${(fs.statSync(target).size / 1e6).toFixed(2)} MB`);
  }
}

if (require.main === module) {
  void runMain(() => chosenArchitectures(process.argv[2]).forEach(buildLayers));
}

module.exports = { ASSETS, contents };
