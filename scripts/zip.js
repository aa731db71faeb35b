'use strict';
// Writes zips of executables that are as small as deflate gets, and equal for equal contents. What libdeflate compresses is
// 5 % smaller than what zlib and fflate do, which is what the size budget takes; fflate writes the zip around it.

const { execFileSync } = require('child_process');
const { Zip } = require('fflate');
const fs = require('fs');
const path = require('path');
const zlib = require('zlib');

const PYTHON = path.join(__dirname, '..', '.venv', 'bin', 'python');
const COMPRESS = 'import deflate, sys; sys.stdout.buffer.write(deflate.deflate_compress(sys.stdin.buffer.read(), 12))';

/** An executable of Unix's, compressed by deflate, and of the earliest time that a zip can name, which is a local one. */
const EXECUTABLE = { os: 3, attrs: 0o100755 << 16, compression: 8, mtime: new Date(1980, 0, 1) };

/** @param {Buffer} content */
function deflated(content) {
  if (!fs.existsSync(PYTHON)) {
    throw new Error(`${PYTHON} is missing: run "npx projen python:venv", which makes it`);
  }
  return execFileSync(PYTHON, ['-c', COMPRESS], { input: content, maxBuffer: content.length + 1024 });
}

/**
 * The bytes of a zip: sorted names, one fixed time, the exec bit set whatever the source's mode.
 * @param {Record<string, string>} files path inside -> file
 */
function zipOf(files) {
  /** @type {Uint8Array[]} */
  const chunks = [];
  const zip = new Zip((error, chunk) => {
    if (error) {
      throw error;
    }
    chunks.push(chunk);
  });
  for (const filename of Object.keys(files).sort()) {
    const content = fs.readFileSync(files[filename]);
    /** @type {import('fflate').ZipInputFile} */
    const entry = { ...EXECUTABLE, filename, size: content.length, crc: zlib.crc32(content) };
    zip.add(entry);
    entry.ondata?.(null, deflated(content), true);
  }
  zip.end();
  return Buffer.concat(chunks);
}

/**
 * Writes one zip, which appears whole or not at all.
 * @param {string} target
 * @param {Record<string, string>} files path inside -> file
 */
function writeZip(target, files) {
  fs.mkdirSync(path.dirname(target), { recursive: true });
  // Renamed into place: whoever reads the zip meanwhile sees the old one or the new one, whole.
  const unfinished = `${target}.${process.pid}`;
  try {
    fs.writeFileSync(unfinished, zipOf(files));
    fs.renameSync(unfinished, target);
  } finally {
    fs.rmSync(unfinished, { force: true });
  }
}

module.exports = { writeZip };
