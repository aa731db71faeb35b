'use strict';
// Runs projen tasks in lanes, side by side: `node scripts/lanes.js "build test" "beneath after:build lint pack"`. The tasks of a
// lane run one after the other. `after:TASK` waits for a task of another lane. A lane that begins with `beneath` gets the
// processor's time that the others leave. A task that fails ends its lane, and those that wait for it. `--live` shows the
// output of all as it comes.

const path = require('path');
const { report, runJob } = require('./jobs');
const { runMain } = require('./run');

/** Begins a lane that others go before: it gets a sixtieth of what others get that want the processor too. */
const BENEATH = 'beneath';
const GIVING_WAY = ['nice', '-n', '19'];

/** Begins a word that names the task to wait for. */
const AFTER = 'after:';

const LIVE = '--live';

const PROJEN = path.join(__dirname, '..', 'node_modules', '.bin', 'projen');

/**
 * Runs lanes to their end.
 * @param {string[]} lanes
 * @param {(task: string, prefix: string[]) => Promise<import('./jobs').Result>} runTask
 */
async function runLanes(lanes, runTask) {
  const all = lanes.map((lane) => lane.split(' '));
  const tasks = all.flat().filter((word) => word !== BENEATH && !word.startsWith(AFTER));
  /** @type {Map<string, (passed: boolean) => void>} */
  const settle = new Map();
  const ended = new Map(tasks.map((task) => [task, new Promise((resolve) => { settle.set(task, resolve); })]));
  const unknown = all.flat().find((word) => word.startsWith(AFTER) && !ended.has(word.slice(AFTER.length)));
  if (unknown !== undefined) {
    throw new Error(`no lane has the task of "${unknown}"`);
  }
  const results = await Promise.all(all.map(async ([first, ...rest]) => {
    const [prefix, words] = first === BENEATH ? [GIVING_WAY, rest] : [[], [first, ...rest]];
    /** @type {import('./jobs').Result[]} */
    const own = [];
    let goesOn = true;
    for (const word of words) {
      if (word.startsWith(AFTER)) {
        goesOn &&= await ended.get(word.slice(AFTER.length));
        continue;
      }
      if (goesOn) {
        const result = await runTask(word, prefix);
        own.push(result);
        goesOn = result.passed;
      }
      settle.get(word)?.(goesOn);
    }
    return own;
  }));
  return results.flat();
}

async function main() {
  // Node ends silently when lanes wait for each other: that must not count as success.
  process.exitCode = 1;
  const lanes = process.argv.slice(2).filter((word) => word !== LIVE);
  const live = lanes.length < process.argv.length - 2;
  report(await runLanes(lanes, (name, prefix) => runJob({ name, live, command: [...prefix, PROJEN, name] })));
  process.exitCode = 0;
}

if (require.main === module) {
  void runMain(main);
}

module.exports = { runLanes };
