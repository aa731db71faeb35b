'use strict';
// Runs the Rust tests: `node scripts/rust-tests.js crates` those that need no tailnet, `node scripts/rust-tests.js e2e` the
// end-to-end suites (rust/testbed/tests), `node scripts/rust-tests.js e2e SUITE [FILTER]` one of these.
//
// Both build the whole workspace, so that cargo selects the same features and compiles each crate once. Suites run several
// at a time: each has a network, processes and files of its own. The programs that they start must be built.

const { execFileSync, spawnSync } = require('child_process');
const path = require('path');
const { report, sideBySide } = require('./jobs');
const { run, runMain } = require('./run');

const RUST = path.join(__dirname, '..', 'rust');

/** How many suites run at once: they wait more than they compute. */
const WIDTH = 3;

/** Those give way to the trials that wait, and then measure. */
const GIVING_WAY = ['nice', '-n', '5'];

/**
 * Suites whose trials mostly wait for freezes to pass, and take turns at what they measure: every trial is a job of its own,
 * and all of them run beside the other suites.
 */
const WAITING = ['thaw'];

/** The suites that take the longest: they begin first. */
const LONGEST = ['failures', 'extension', 'transparency'];

/** Suites that hold milliseconds to account, and so run last, and alone. */
const ALONE = ['start', 'link'];

/**
 * Trials of these kinds in suites of others: their names begin so.
 * @type {{ suite: string, prefix: string, group: 'waiting' | 'alone' }[]}
 */
const APART = [
  { suite: 'local_ports', prefix: 'forward: ', group: 'waiting' },
  { suite: 'transparency', prefix: 'freeze: ', group: 'alone' },
  // Its last count is told while the function ends, which has a limit.
  { suite: 'metrics', prefix: 'metrics: 1,000', group: 'alone' },
  { suite: 'signed_callers', prefix: 'layer: it adds at most', group: 'alone' },
];

/** The file that suites lock while they measure, so that one does so at a time. */
const MEASURING_LOCK = path.join(RUST, 'target', 'measuring.lock');

/** The crate of the end-to-end suites. */
const TESTBED = 'testbed';

/**
 * A suite's executable, and the folder of its crate.
 * @typedef {{ name: string, crate: string, folder: string, executable: string }} Suite
 */

/**
 * The executables that cargo names in its JSON messages.
 * @param {string} messages
 * @returns {Suite[]}
 */
function executables(messages) {
  const parsed = messages.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  return parsed
    .filter(({ reason, executable, profile }) => reason === 'compiler-artifact' && executable && profile.test)
    .map(({ target, executable, manifest_path: manifest }) => {
      const folder = path.dirname(manifest);
      const crate = path.basename(folder);
      const name = target.kind.includes('test') ? target.name : `unit tests of ${target.kind[0]} ${target.name}`;
      return { name: crate === TESTBED ? name : `${crate}: ${name}`, crate, folder, executable };
    });
}

/**
 * Builds what is to run.
 * @param {string | undefined} suite one of them; otherwise all that `cargo test` would run
 */
function build(suite) {
  const selection = suite === undefined ? [] : ['--test', suite];
  const args = ['--config', '.cargo/linted.toml', 'test', '--locked', '--workspace', '--no-run', '--message-format=json-render-diagnostics', ...selection];
  const result = spawnSync('cargo', args, {
    cwd: RUST, env: { ...process.env, CARGO_TARGET_DIR: 'target' }, encoding: 'utf8', maxBuffer: 1e9, stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (result.status !== 0) {
    throw new Error(suite === undefined ? 'the tests could not be built' : `"${suite}" could not be built: suites are the folders in rust/testbed/tests`);
  }
  return executables(result.stdout);
}

/**
 * The trials that a suite has.
 * @param {Suite} suite
 */
function trialsOf({ executable, folder }) {
  const listed = execFileSync(executable, ['--list'], { cwd: folder, encoding: 'utf8' });
  return listed.split('\n').filter((line) => line.endsWith(': test')).map((line) => line.slice(0, -': test'.length));
}

/**
 * @param {Suite} suite
 * @param {string[]} [args]
 * @param {string} [title]
 */
function job({ name, executable, folder }, args = [], title = name) {
  return { name: title, command: [executable, ...args], cwd: folder, env: { MEASURING_LOCK } };
}

/** @param {import('./jobs').Job} job */
function givingWay({ command, ...rest }) {
  return { ...rest, command: [...GIVING_WAY, ...command] };
}

/**
 * The jobs of a whole run: those that may run side by side, and those that run after them.
 * @param {Suite[]} suites
 * @param {(suite: Suite) => string[]} trials the names of a suite's trials
 */
function plan(suites, trials) {
  const rest = suites.filter(({ name }) => !WAITING.includes(name) && !ALONE.includes(name));
  const common = [...rest.filter(({ name }) => LONGEST.includes(name)), ...rest.filter(({ name }) => !LONGEST.includes(name))];
  const whole = (/** @type {string[]} */ names) => suites.filter(({ name }) => names.includes(name));
  const partsOf = (/** @type {Suite} */ suite) => APART.filter((part) => part.suite === suite.name);
  const apart = (/** @type {string} */ group) => common.flatMap((suite) => (
    partsOf(suite).filter((part) => part.group === group).map(({ prefix }) => ({ suite, prefix }))));
  const one = (/** @type {Suite} */ suite, /** @type {string} */ trial) => job(suite, ['--exact', trial], `${suite.name}: ${trial}`);
  return {
    common: common.map((suite) => givingWay(job(suite, partsOf(suite).flatMap(({ prefix }) => ['--skip', prefix])))),
    waiting: [
      ...whole(WAITING).flatMap((suite) => trials(suite).map((trial) => one(suite, trial))),
      ...apart('waiting').flatMap(({ suite, prefix }) => trials(suite).filter((trial) => trial.startsWith(prefix)).map((trial) => one(suite, trial))),
    ],
    alone: [
      ...whole(ALONE).map((suite) => job(suite)),
      ...apart('alone').map(({ suite, prefix }) => job(suite, [prefix], `${suite.name}: ${prefix}…`)),
    ],
  };
}

/** Tests of the crates. Two cores are busy with one of them. */
async function crates() {
  const suites = build(undefined).filter(({ crate }) => crate !== TESTBED);
  report(await sideBySide(suites.map((suite) => job(suite)), 1));
}

/** All end-to-end suites. */
async function endToEnd() {
  const { common, waiting, alone } = plan(build(undefined).filter(({ crate }) => crate === TESTBED), trialsOf);
  const results = (await Promise.all([sideBySide(waiting, waiting.length), sideBySide(common, WIDTH)])).flat();
  results.push(...await sideBySide(alone, 1));
  report(results);
}

/**
 * One of them: as it prints, or, where its trials wait, side by side.
 * @param {string} name
 * @param {string[]} args
 */
async function suite(name, args) {
  const found = build(name).find(({ crate }) => crate === TESTBED);
  if (found === undefined) {
    throw new Error(`"${name}" is not a suite: suites are the folders in rust/testbed/tests`);
  }
  if (WAITING.includes(name) && args.length === 0) {
    const { waiting } = plan([found], trialsOf);
    report(await sideBySide(waiting, waiting.length));
  } else {
    run(found.executable, args, { cwd: found.folder });
  }
}

async function main() {
  const [what, name, ...args] = process.argv.slice(2);
  if (what === 'crates') {
    await crates();
  } else if (what === 'e2e') {
    await (name === undefined ? endToEnd() : suite(name, args));
  } else {
    throw new Error(`"${what}": say "crates", or "e2e" and perhaps a suite`);
  }
}

if (require.main === module) {
  void runMain(main);
}

module.exports = { executables, plan };
