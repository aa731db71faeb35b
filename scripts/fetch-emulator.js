'use strict';
// Puts into .emulator/ what runs the other architecture's binaries on this machine: qemu's user mode emulator and a glibc.
// Debian's and Ubuntu's own packages are unpacked there: nothing is installed, and no root is needed.

const fs = require('fs');
const path = require('path');
const { ARCHITECTURES, hostArchitecture } = require('./architecture');
const { run, runMain } = require('./run');

const ROOT = path.join(__dirname, '..');
const EMULATOR = path.join(ROOT, '.emulator');

/**
 * What Debian calls the emulation of an architecture.
 * @typedef {object} Debian
 * @property {string} qemu the name of the static emulator
 * @property {string} library the package of the glibc to emulate with
 * @property {string} folder where that package has its files
 * @property {string} loader the file without which no program starts
 * @property {string} loaderFolder where programs look for it
 */

/** @type {Record<string, Debian>} */
const DEBIAN = {
  arm64: {
    qemu: 'qemu-aarch64-static', library: 'libc6-arm64-cross', folder: 'usr/aarch64-linux-gnu/lib', loader: 'ld-linux-aarch64.so.1', loaderFolder: 'lib',
  },
  x86_64: {
    qemu: 'qemu-x86_64-static', library: 'libc6-amd64-cross', folder: 'usr/x86_64-linux-gnu/lib', loader: 'ld-linux-x86-64.so.2', loaderFolder: 'lib64',
  },
};

/** The libraries that the binaries name, beside the loader. */
const LIBRARIES = ['libc.so.6', 'libm.so.6'];

/**
 * Runs apt-get where its files may be written, with package lists of its own if this machine's are missing.
 * @param {string} folder
 * @param {string[]} packages
 */
function download(folder, packages) {
  // As the user who asks: apt's own could not write here.
  const quietly = ['--quiet=2', '-o', 'APT::Sandbox::User=root'];
  try {
    run('apt-get', [...quietly, 'download', ...packages], { cwd: folder });
  } catch {
    console.log('apt-get knows no such packages yet: fetching lists of its own');
    fs.mkdirSync(path.join(folder, 'lists', 'partial'), { recursive: true });
    const own = [...quietly, '-o', `Dir::State::lists=${folder}/lists`, '-o', `Dir::Cache=${folder}`];
    run('apt-get', [...own, 'update']);
    run('apt-get', [...own, 'download', ...packages], { cwd: folder });
  }
}

/**
 * Takes files out of a Debian package.
 * @param {string} archive
 * @param {string} target
 * @param {string[]} files below its root
 */
function unpack(archive, target, files) {
  const names = files.map((file) => `'./${file}'`).join(' ');
  run('bash', ['-o', 'pipefail', '-c', `dpkg-deb --fsys-tarfile '${archive}' | tar -x -C '${target}' ${names}`]);
}

/**
 * The emulator and its glibc, laid out as `qemu` and `root/`.
 * @param {Debian} names
 */
function layOut(names) {
  const work = `${EMULATOR}.${process.pid}`;
  fs.mkdirSync(path.join(work, 'root', names.loaderFolder), { recursive: true });
  try {
    download(work, ['qemu-user-static', names.library]);
    const archive = (/** @type {string} */ start) =>
      path.join(work, fs.readdirSync(work).find((name) => name.startsWith(`${start}_`) && name.endsWith('.deb')) ?? start);
    unpack(archive('qemu-user-static'), work, [`usr/bin/${names.qemu}`]);
    unpack(archive(names.library), work, [...LIBRARIES, names.loader].map((library) => `${names.folder}/${library}`));
    fs.renameSync(path.join(work, 'usr', 'bin', names.qemu), path.join(work, 'qemu'));
    fs.mkdirSync(path.join(work, 'root', 'lib'), { recursive: true });
    LIBRARIES.forEach((library) => fs.renameSync(path.join(work, names.folder, library), path.join(work, 'root', 'lib', library)));
    fs.renameSync(path.join(work, names.folder, names.loader), path.join(work, 'root', names.loaderFolder, names.loader));
    // Last, and whole: what was cut off on the way is fetched again.
    fs.mkdirSync(EMULATOR, { recursive: true });
    ['root', 'qemu'].forEach((name) => fs.renameSync(path.join(work, name), path.join(EMULATOR, name)));
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

function main() {
  if (fs.existsSync(path.join(EMULATOR, 'qemu'))) {
    return;
  }
  const other = Object.keys(ARCHITECTURES).filter((architecture) => architecture !== hostArchitecture())[0];
  const names = DEBIAN[other];
  console.log(`fetching the emulator of ${other} (60 MB)`);
  fs.rmSync(EMULATOR, { recursive: true, force: true });
  try {
    layOut(names);
  } catch (error) {
    throw new Error(
      `the emulator of ${other} cannot be had (${error instanceof Error ? error.message : error}). It comes from Debian's packages ` +
      `qemu-user-static and ${names.library}, by apt-get and dpkg-deb: make a Debian mirror reachable; or put a static ${names.qemu} ` +
      `at .emulator/qemu, and ${[...LIBRARIES, names.loader].join(', ')} of ${other} below .emulator/root/${names.loaderFolder}`,
    );
  }
}

if (require.main === module) {
  void runMain(main);
}
