'use strict';
// The two architectures of Lambda, under the names that the folders have, and what each toolchain calls them.

/** @type {Record<string, { node: string, go: string }>} */
const ARCHITECTURES = {
  x86_64: { node: 'x64', go: 'amd64' },
  arm64: { node: 'arm64', go: 'arm64' },
};

/**
 * This machine's architecture.
 * @param {string} nodeArch as process.arch
 */
function hostArchitecture(nodeArch = process.arch) {
  const found = Object.entries(ARCHITECTURES).find(([, names]) => names.node === nodeArch);
  if (!found) {
    throw new Error(`this machine's architecture is ${nodeArch}: it must be one of x64, arm64`);
  }
  return found[0];
}

/**
 * The architecture that a command line asks for: its first word, or this machine's.
 * @param {string | undefined} word
 */
function chosenArchitecture(word) {
  const architecture = word ?? hostArchitecture();
  if (!Object.hasOwn(ARCHITECTURES, architecture)) {
    throw new Error(`architecture is "${architecture}": it must be one of ${Object.keys(ARCHITECTURES).join(', ')}`);
  }
  return architecture;
}

module.exports = { ARCHITECTURES, chosenArchitecture, hostArchitecture };
