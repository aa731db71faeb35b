'use strict';
// Writes zips of executables that are as small as deflate gets, and equal for equal contents.
// libdeflate makes them 3 % smaller than zlib does, which is what the size budget takes. No zip library uses it: hence
// the few records of the format here (APPNOTE.TXT 4.3; no ZIP64: all of it is far below 4 GB).

const { execFileSync } = require('child_process');
const fs = require('fs');
const path = require('path');
const zlib = require('zlib');

const PYTHON = path.join(__dirname, '..', '.venv', 'bin', 'python');
const COMPRESS = 'import deflate, sys; sys.stdout.buffer.write(deflate.deflate_compress(sys.stdin.buffer.read(), 12))';

const VERSION = 20;
const UNIX = 3;
const DEFLATED = 8;
const EXECUTABLE = 0o100755;
/** The earliest time that a zip can name: the first of January 1980. */
const TIME = 0;
const DATE = (1 << 5) | 1;

/**
 * One file inside.
 * @typedef {object} Entry
 * @property {Buffer} name
 * @property {Buffer} packed
 * @property {number} size unpacked
 * @property {number} checksum
 * @property {number} offset of its local header
 */

/** @param {Buffer} content */
function deflated(content) {
  if (!fs.existsSync(PYTHON)) {
    throw new Error(`${PYTHON} is missing: run "npx projen python:venv", which makes it`);
  }
  return execFileSync(PYTHON, ['-c', COMPRESS], { input: content, maxBuffer: content.length + 1024 });
}

/**
 * Little-endian numbers in a row: [value, bytes].
 * @param {[number, number][]} fields
 */
function record(fields) {
  const buffer = Buffer.alloc(fields.reduce((sum, [, bytes]) => sum + bytes, 0));
  fields.reduce((at, [value, bytes]) => buffer.writeUIntLE(value, at, bytes), 0);
  return buffer;
}

/**
 * What the local header and the central directory both say.
 * @param {Entry} entry
 * @returns {[number, number][]}
 */
function shared({ name, packed, size, checksum }) {
  return [[0, 2], [DEFLATED, 2], [TIME, 2], [DATE, 2], [checksum, 4], [packed.length, 4], [size, 4], [name.length, 2], [0, 2]];
}

/** @param {Entry} entry */
function localHeader(entry) {
  return Buffer.concat([record([[0x04034b50, 4], [VERSION, 2], ...shared(entry)]), entry.name]);
}

/** @param {Entry} entry */
function directoryEntry(entry) {
  const madeBy = (UNIX << 8) | VERSION;
  /** @type {[number, number][]} */
  const rest = [[0, 2], [0, 2], [0, 2], [EXECUTABLE * 0x10000, 4], [entry.offset, 4]];
  return Buffer.concat([record([[0x02014b50, 4], [madeBy, 2], [VERSION, 2], ...shared(entry), ...rest]), entry.name]);
}

/**
 * The bytes of a zip: sorted names, one fixed time, the exec bit set whatever the source's mode.
 * @param {Record<string, string>} files path inside -> file
 */
function zipOf(files) {
  /** @type {Entry[]} */
  const entries = [];
  const body = [];
  let offset = 0;
  for (const name of Object.keys(files).sort()) {
    const content = fs.readFileSync(files[name]);
    const entry = { name: Buffer.from(name), packed: deflated(content), size: content.length, checksum: zlib.crc32(content), offset };
    const header = localHeader(entry);
    entries.push(entry);
    body.push(header, entry.packed);
    offset += header.length + entry.packed.length;
  }
  const directory = Buffer.concat(entries.map(directoryEntry));
  const end = record([
    [0x06054b50, 4], [0, 2], [0, 2], [entries.length, 2], [entries.length, 2], [directory.length, 4], [offset, 4], [0, 2],
  ]);
  return Buffer.concat([...body, directory, end]);
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
