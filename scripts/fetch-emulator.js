'use strict';
// Puts into .emulator/ what runs the other architecture's binaries on this machine: qemu's user mode emulator.
// Debian's or Ubuntu's own package is unpacked there: nothing is installed, and no root is needed.

const fs = require('fs');
const path = require('path');
const { ARCHITECTURES, hostArchitecture } = require('./architecture');
const { run, runMain } = require('./run');

const ROOT = path.join(__dirname, '..');
const EMULATOR = path.join(ROOT, '.emulator');

/** The package that has them all. */
const PACKAGE = 'qemu-user-static';

/**
 * Runs apt-get where its files may be written, with package lists of its own if this machine's are missing.
 * @param {string} folder
 */
function download(folder) {
  // As the user who asks: apt's own could not write here.
  const quietly = ['--quiet=2', '-o', 'APT::Sandbox::User=root'];
  try {
    run('apt-get', [...quietly, 'download', PACKAGE], { cwd: folder });
  } catch {
    console.log('apt-get knows no such package yet: fetching lists of its own');
    fs.mkdirSync(path.join(folder, 'lists', 'partial'), { recursive: true });
    const own = [...quietly, '-o', `Dir::State::lists=${folder}/lists`, '-o', `Dir::Cache=${folder}`];
    run('apt-get', [...own, 'update']);
    run('apt-get', [...own, 'download', PACKAGE], { cwd: folder });
  }
}

/**
 * Puts the emulator in its place.
 * @param {string} qemu
 */
function fetchEmulator(qemu) {
  const work = `${EMULATOR}.${process.pid}`;
  fs.mkdirSync(work, { recursive: true });
  try {
    download(work);
    const archive = fs.readdirSync(work).find((name) => name.startsWith(`${PACKAGE}_`) && name.endsWith('.deb')) ?? PACKAGE;
    const unpack = `dpkg-deb --fsys-tarfile '${archive}' | tar -x './usr/bin/${qemu}'`;
    run('bash', ['-o', 'pipefail', '-c', unpack], { cwd: work });
    // Last, and whole: what was cut off on the way is fetched again.
    fs.mkdirSync(EMULATOR, { recursive: true });
    fs.renameSync(path.join(work, 'usr', 'bin', qemu), path.join(EMULATOR, 'qemu'));
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

function main() {
  if (fs.existsSync(path.join(EMULATOR, 'qemu'))) {
    return;
  }
  const other = Object.keys(ARCHITECTURES).find((architecture) => architecture !== hostArchitecture()) ?? '';
  // As Debian calls the static emulator of an architecture: aarch64, x86_64.
  const qemu = `qemu-${ARCHITECTURES[other].rust.split('-')[0]}-static`;
  console.log(`fetching the emulator of ${other} (60 MB)`);
  fs.rmSync(EMULATOR, { recursive: true, force: true });
  try {
    fetchEmulator(qemu);
  } catch (error) {
    throw new Error(
      `the emulator of ${other} cannot be had (${error instanceof Error ? error.message : error}). It comes from Debian's package ` +
      `${PACKAGE}, by apt-get and dpkg-deb: make a Debian mirror reachable; or put a static ${qemu} at .emulator/qemu`,
    );
  }
}

void runMain(main);
