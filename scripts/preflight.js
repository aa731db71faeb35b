'use strict';
// Names every tool that is missing, all at once, with the way to get it: before anything is built.
// Plain Node, so that it runs before `npm ci` as well: `node scripts/preflight.js [--tests]`.

const { spawnSync } = require('child_process');
const path = require('path');

/**
 * What a tool is asked with, and what its answer must be.
 * @typedef {object} Tool
 * @property {string} name what to call it
 * @property {string[]} command how to ask it for its version
 * @property {string} [minimum] the lowest version that will do
 * @property {string} [cwd] where to ask, relative to the root
 * @property {boolean} [testsOnly] whether only the tests need it
 * @property {string} remedy how to get it
 */

/**
 * What the machine says.
 * @typedef {object} Machine
 * @property {string} platform as process.platform
 * @property {string} nodeVersion as process.versions.node
 * @property {(command: string[], cwd: string) => string | undefined} ask the output of a command, undefined if it failed
 */

const NODE_MINIMUM = '20.16.0';
const RUST_REMEDY = 'install it with rustup: https://rustup.rs';

/** @type {Tool[]} */
const TOOLS = [
  { name: 'Rust (cargo)', command: ['cargo', '--version'], minimum: '1.94.1', remedy: `${RUST_REMEDY}; if that is there, run "rustup toolchain install" in this folder` },
  { name: 'rustfmt', command: ['cargo', 'fmt', '--version'], testsOnly: true, remedy: 'rustup component add rustfmt' },
  { name: 'clippy', command: ['cargo', 'clippy', '--version'], testsOnly: true, remedy: 'rustup component add clippy' },
  {
    name: 'Rust\'s standard library for both architectures',
    command: ['node', 'scripts/rust-targets.js'],
    testsOnly: true,
    remedy: 'install Rust with rustup (https://rustup.rs), which fetches them; or both at once: rustup target add x86_64-unknown-linux-musl aarch64-unknown-linux-musl',
  },
  { name: 'a C compiler (cc)', command: ['cc', '--version'], remedy: 'Debian, Ubuntu: apt-get install build-essential; Fedora: dnf install gcc' },
  // Asked beside go.mod: there Go answers for the toolchain that the module gets, which it may have fetched itself.
  { name: 'Go', command: ['go', 'version'], minimum: '1.26', cwd: 'tailscaled', remedy: 'install it from https://go.dev/dl/' },
  { name: 'Python 3', command: ['python3', '--version'], minimum: '3.9', remedy: 'Debian, Ubuntu: apt-get install python3; Fedora: dnf install python3' },
  {
    name: 'Python\'s venv',
    command: ['python3', '-c', 'import ensurepip, venv; print("venv")'],
    remedy: 'Debian, Ubuntu: apt-get install python3-venv',
  },
  // A function in the demo asks by it: of the machine, its environment has what is below /usr.
  {
    name: 'Python 3 in /usr/local/bin or /usr/bin',
    command: ['env', '-i', 'PATH=/usr/local/bin:/usr/bin:/bin', 'python3', '--version'],
    minimum: '3.9',
    remedy: 'Debian, Ubuntu: apt-get install python3; Fedora: dnf install python3',
  },
  {
    name: 'iproute2 (ip)',
    command: ['ip', '-V'],
    remedy: 'Debian, Ubuntu: apt-get install iproute2; Fedora: dnf install iproute; if it is there, add /usr/sbin to PATH',
  },
  // The link between a function and a tailnet that is far away ends in two devices of it.
  {
    name: '/dev/net/tun',
    command: ['test', '-c', '/dev/net/tun'],
    testsOnly: true,
    remedy: 'modprobe tun; a container needs it from its host: docker run --device /dev/net/tun',
  },
  // The oldest that shows a header of the answer: examples/curl.
  { name: 'curl', command: ['curl', '--version'], minimum: '7.84', testsOnly: true, remedy: 'Debian, Ubuntu: apt-get install curl; Fedora: dnf install curl' },
];

/**
 * Whether a version is at least another; the parts that the other does not name do not count.
 * @param {string} version
 * @param {string} minimum
 */
function atLeast(version, minimum) {
  const have = version.split('.').map(Number);
  for (const [index, want] of minimum.split('.').map(Number).entries()) {
    const part = have[index] ?? 0;
    if (part !== want) {
      return part > want;
    }
  }
  return true;
}

/**
 * What is wrong with one tool, or undefined.
 * @param {Tool} tool
 * @param {Machine} machine
 */
function problemWith(tool, machine) {
  const answer = machine.ask(tool.command, tool.cwd ?? '.');
  const wanted = tool.minimum ? `${tool.name} ${tool.minimum} or later` : tool.name;
  if (answer === undefined) {
    return `${wanted} is missing ("${tool.command.join(' ')}" failed): ${tool.remedy}`;
  }
  const version = answer.match(/\d+(\.\d+)+/)?.[0];
  if (tool.minimum && !(version && atLeast(version, tool.minimum))) {
    return `${wanted} is needed, and this is ${version ?? JSON.stringify(answer.trim())}: ${tool.remedy}`;
  }
  return undefined;
}

/**
 * Everything that is wrong with a machine, in the order to mend it.
 * @param {Machine} machine
 * @param {{ tests: boolean }} options tests: ask for what only the tests need, too
 * @returns {string[]}
 */
function problems(machine, options) {
  const found = [];
  if (machine.platform !== 'linux') {
    found.push(`Linux is needed, and this is ${machine.platform}: use a Linux machine, a virtual machine or WSL 2`);
  }
  if (!atLeast(machine.nodeVersion, NODE_MINIMUM)) {
    found.push(`Node.js ${NODE_MINIMUM} or later is needed, and this is ${machine.nodeVersion}: install it from https://nodejs.org`);
  }
  const tools = TOOLS.filter((tool) => options.tests || !tool.testsOnly);
  return [...found, ...tools.map((tool) => problemWith(tool, machine)).filter((problem) => problem !== undefined)];
}

/** @type {Machine} */
const THIS_MACHINE = {
  platform: process.platform,
  nodeVersion: process.versions.node,
  ask([program, ...args], cwd) {
    // Generous: Go may fetch the toolchain that go.mod names before it answers.
    const result = spawnSync(program, args, {
      cwd: path.join(__dirname, '..', cwd), encoding: 'utf8', timeout: 180_000, stdio: ['ignore', 'pipe', 'pipe'],
    });
    return result.status === 0 ? result.stdout + result.stderr : undefined;
  },
};

function main() {
  const found = problems(THIS_MACHINE, { tests: process.argv.includes('--tests') });
  if (found.length > 0) {
    console.error(`This machine is not ready yet:\n${found.map((problem) => `  - ${problem}`).join('\n')}`);
    process.exitCode = 1;
  }
}

if (require.main === module) {
  main();
}

module.exports = { NODE_MINIMUM, TOOLS, atLeast, problems };
