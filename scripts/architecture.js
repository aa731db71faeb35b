'use strict';
// The two architectures of Lambda, under the names that the folders have, and what each toolchain calls them.

/**
 * @typedef {object} Names
 * @property {string} node as process.arch
 * @property {string} go as GOARCH
 * @property {string} rust the target triple of what ships: linked statically, it runs on any Linux
 * @property {number} elf e_machine in an executable's header (elf(5))
 */

/** @type {Record<string, Names>} */
const ARCHITECTURES = {
  x86_64: { node: 'x64', go: 'amd64', rust: 'x86_64-unknown-linux-musl', elf: 62 },
  arm64: { node: 'arm64', go: 'arm64', rust: 'aarch64-unknown-linux-musl', elf: 183 },
};

/** The word that stands for every architecture on a command line. */
const ALL = 'all';

/** This machine's architecture. */
function hostArchitecture() {
  const found = Object.keys(ARCHITECTURES).find((name) => ARCHITECTURES[name].node === process.arch);
  if (!found) {
    throw new Error(`this machine's architecture is ${process.arch}: it must be one of x64, arm64`);
  }
  return found;
}

/**
 * The architectures that a command line asks for: the one that its first word names, or all, or this machine's.
 * @param {string | undefined} word
 */
function chosenArchitectures(word) {
  if (word === ALL) {
    return Object.keys(ARCHITECTURES);
  }
  const architecture = word ?? hostArchitecture();
  if (!Object.hasOwn(ARCHITECTURES, architecture)) {
    throw new Error(`architecture is "${architecture}": it must be one of ${[...Object.keys(ARCHITECTURES), ALL].join(', ')}`);
  }
  return [architecture];
}

module.exports = { ALL, ARCHITECTURES, chosenArchitectures, hostArchitecture };
