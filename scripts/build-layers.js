'use strict';
// Zips what ships into assets/<architecture>/. Equal binaries make equal zips, byte for byte: a rebuild of the same
// source keeps its CDK asset hash, and a deployment that changes nothing uploads nothing.
// `node scripts/build-layers.js`

const fs = require('fs');
const path = require('path');
const { pipeline } = require('stream/promises');
const yazl = require('yazl');
const { hostArchitecture } = require('./architecture');
const { runMain } = require('./run');

const ROOT = path.join(__dirname, '..');
const EXECUTABLE = 0o100755;

/**
 * The zips of one architecture: name -> (path inside -> file), all of them executables.
 * @param {string} architecture
 * @returns {Record<string, Record<string, string>>}
 */
function contents(architecture) {
  const rust = path.join(ROOT, 'rust', 'target', 'release');
  const tailscaled = path.join(ROOT, 'tailscaled', 'dist', architecture);
  return {
    'proxy.zip': { bootstrap: path.join(rust, 'bootstrap') },
    // Lambda unpacks a layer under /opt, and starts what it finds in /opt/extensions.
    'extension.zip': {
      'bin/tailscaled': path.join(tailscaled, 'tailscaled'),
      'extensions/tailscale-extension': path.join(rust, 'tailscale-extension'),
    },
  };
}

/**
 * Writes one zip: sorted names, one fixed time, the exec bit set whatever the source's mode.
 * @param {string} target
 * @param {Record<string, string>} files path inside -> file
 */
async function writeZip(target, files) {
  const zip = new yazl.ZipFile();
  for (const name of Object.keys(files).sort()) {
    // The earliest time that a zip can name. yazl writes it in local time: hence local here, too.
    // The DOS field alone: the extended field holds UTC and would differ from one time zone to the next.
    zip.addBuffer(fs.readFileSync(files[name]), name, {
      mtime: new Date(1980, 0, 1), mode: EXECUTABLE, compressionLevel: 9, forceDosTimestamp: true,
    });
  }
  zip.end();
  fs.mkdirSync(path.dirname(target), { recursive: true });
  // Renamed into place: whoever reads the zip meanwhile sees the old one or the new one, whole.
  const unfinished = `${target}.${process.pid}`;
  try {
    await pipeline(zip.outputStream, fs.createWriteStream(unfinished));
    fs.renameSync(unfinished, target);
  } finally {
    fs.rmSync(unfinished, { force: true });
  }
}

async function main() {
  const architecture = hostArchitecture();
  for (const [name, files] of Object.entries(contents(architecture))) {
    const missing = Object.values(files).filter((file) => !fs.existsSync(file));
    if (missing.length > 0) {
      throw new Error(`${missing.join(', ')} is missing: run "npx projen layers:build", which builds it first`);
    }
    const target = path.join(ROOT, 'assets', architecture, name);
    await writeZip(target, files);
    console.log(`${path.relative(ROOT, target)} ${(fs.statSync(target).size / 1e6).toFixed(1)} MB`);
  }
}

if (require.main === module) {
  void runMain(main);
}

module.exports = { writeZip };
