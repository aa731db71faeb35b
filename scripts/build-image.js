'use strict';
// Puts what the layer holds into an OCI image for functions from container images: a layout (OCI image-spec 1.1) in a tar
// file, without Docker. `COPY --from` takes /opt from it. The same zips make the same bytes.
// `node scripts/build-image.js FILE [x86_64|arm64|all]`, all by default. The zips must be built.

const { execFileSync } = require('child_process');
const { createHash } = require('crypto');
const fs = require('fs');
const os = require('os');
const path = require('path');
const zlib = require('zlib');
const { ALL, ARCHITECTURES, chosenArchitectures } = require('./architecture');
const { ASSETS } = require('./build-layers');
const { runMain } = require('./run');

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
/** Nothing in a tar file says when or by whom it was made. */
const NEUTRAL = ['--format=ustar', '--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];

/**
 * @typedef {object} Descriptor
 * @property {string} mediaType
 * @property {string} digest
 * @property {number} size
 */

/** @param {Buffer} content */
function digest(content) {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

/**
 * Adds a blob to a layout.
 * @param {string} layout
 * @param {string} mediaType
 * @param {Buffer | object} content a buffer, or what becomes JSON
 * @returns {Descriptor}
 */
function addBlob(layout, mediaType, content) {
  const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
  const name = digest(bytes);
  fs.writeFileSync(path.join(layout, 'blobs', 'sha256', name.slice('sha256:'.length)), bytes);
  return { mediaType, digest: name, size: bytes.length };
}

/**
 * A tar file of a folder.
 * @param {string} folder
 * @param {string[]} names
 */
function tar(folder, names) {
  return execFileSync('tar', [...NEUTRAL, '-C', folder, '-cf', '-', ...names], { maxBuffer: 1024 ** 3 });
}

/**
 * Adds the image of one architecture.
 * @param {string} layout
 * @param {string} zip
 * @param {string} architecture as Go calls it
 * @returns {Descriptor & {platform: object}}
 */
function addImage(layout, zip, architecture) {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'image-'));
  try {
    fs.mkdirSync(path.join(root, 'opt'));
    execFileSync('python3', ['-m', 'zipfile', '-e', zip, path.join(root, 'opt')]);
    // All that the layer holds is executable.
    execFileSync('chmod', ['-R', '755', root]);
    const content = tar(root, ['opt']);
    const layer = addBlob(layout, LAYER, zlib.gzipSync(content, { level: 9 }));
    const platform = { architecture, os: 'linux' };
    const config = addBlob(layout, CONFIG, {
      ...platform, config: {}, rootfs: { type: 'layers', diff_ids: [digest(content)] },
      history: [{ created: '1970-01-01T00:00:00Z', created_by: 'tailscale-lambda-proxy: the extension\'s layer' }],
    });
    return { ...addBlob(layout, MANIFEST, { schemaVersion: 2, mediaType: MANIFEST, config, layers: [layer] }), platform };
  } finally {
    fs.rmSync(root, { recursive: true });
  }
}

/**
 * Writes the image of these zips.
 * @param {Record<string, string>} zips architecture -> zip of the layer
 * @param {string} tag
 * @param {string} file
 */
function writeImage(zips, tag, file) {
  const layout = fs.mkdtempSync(path.join(os.tmpdir(), 'layout-'));
  try {
    fs.mkdirSync(path.join(layout, 'blobs', 'sha256'), { recursive: true });
    const manifests = Object.entries(zips).map(([architecture, zip]) => addImage(layout, zip, ARCHITECTURES[architecture].go));
    const index = addBlob(layout, INDEX, { schemaVersion: 2, mediaType: INDEX, manifests });
    const annotations = { 'org.opencontainers.image.ref.name': tag };
    fs.writeFileSync(path.join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
    fs.writeFileSync(path.join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: [{ ...index, annotations }] }));
    fs.mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
    fs.writeFileSync(file, tar(layout, ['blobs', 'index.json', 'oci-layout']));
  } finally {
    fs.rmSync(layout, { recursive: true });
  }
}

function main() {
  const [file = 'dist/extension-image.tar', architecture = ALL] = process.argv.slice(2);
  const zips = Object.fromEntries(chosenArchitectures(architecture).map((name) => [name, path.join(ASSETS, name, 'extension.zip')]));
  const missing = Object.values(zips).filter((zip) => !fs.existsSync(zip));
  if (missing.length > 0) {
    throw new Error(`${missing.join(', ')} is missing: run "npx projen layers:build:all", which builds it`);
  }
  writeImage(zips, 'latest', file);
  console.log(`${file} ${(fs.statSync(file).size / 1e6).toFixed(2)} MB`);
}

if (require.main === module) {
  void runMain(main);
}

module.exports = { writeImage };
