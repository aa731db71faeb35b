'use strict';
// Runs projen tasks in lanes, side by side: `node scripts/lanes.js "build test" "beneath after:build lint pack"`. The tasks of a
// lane run one after the other. `after:TASK` waits for a task of another lane. A lane that begins with `beneath` gets the
// processor's time that the others leave. A task that fails ends its lane, and those that wait for it.

const path = require('path');
const { runJob, table } = require('./jobs');
const { runMain } = require('./run');

/** Begins a lane that others go before. */
const BENEATH = 'beneath';

/** Begins a word that names the task to wait for. */
const AFTER = 'after:';

/** A sixtieth of what others get that want the processor too. */
const GIVING_WAY = ['nice', '-n', '19'];

const PROJEN = path.join(__dirname, '..', 'node_modules', '.bin', 'projen');

/**
 * What a lane does.
 * @typedef {{ prefix: string[], steps: ({ task: string } | { after: string })[] }} Lane
 */

/**
 * @param {string} words
 * @returns {Lane}
 */
function lane(words) {
  const all = words.split(' ').filter(Boolean);
  const beneath = all[0] === BENEATH;
  const steps = all.slice(beneath ? 1 : 0)
    .map((word) => word.startsWith(AFTER) ? { after: word.slice(AFTER.length) } : { task: word });
  return { prefix: beneath ? GIVING_WAY : [], steps };
}

/** @param {Lane} lane */
function tasksOf({ steps }) {
  return steps.flatMap((step) => 'task' in step ? [step.task] : []);
}

/**
 * The task that lanes wait for and that never runs, because they wait for each other. (Node would end without a word.)
 * @param {Lane[]} all
 */
function neverRun(all) {
  const ended = new Set();
  const left = all.map(({ steps }) => [...steps]);
  let moved = true;
  while (moved) {
    moved = false;
    for (const [index, [step, ...rest]] of left.entries()) {
      if (step !== undefined && ('task' in step || ended.has(step.after))) {
        ended.add('task' in step ? step.task : step.after);
        left[index] = rest;
        moved = true;
      }
    }
  }
  return left.flatMap(([step]) => step !== undefined && 'after' in step ? [step.after] : [])[0];
}

/**
 * The lanes, each with a task, and with nothing to wait for that never comes.
 * @param {string[]} words
 */
function lanes(words) {
  const found = words.map(lane);
  if (found.some((one) => tasksOf(one).length === 0)) {
    throw new Error('a lane without tasks: give the tasks of each lane as one argument');
  }
  const never = neverRun(found);
  if (never !== undefined) {
    throw new Error(found.flatMap(tasksOf).includes(never)
      ? `lanes wait for each other, and "${never}" never runs`
      : `no lane has the task "${never}" that is waited for`);
  }
  return found;
}

/**
 * Runs lanes to their end.
 * @param {Lane[]} all
 * @param {(task: string, prefix: string[]) => Promise<import('./jobs').Result>} runTask
 */
async function runLanes(all, runTask) {
  /** @type {Map<string, (passed: boolean) => void>} */
  const settle = new Map();
  /** @type {Map<string, Promise<boolean>>} */
  const ended = new Map();
  for (const task of all.flatMap(tasksOf)) {
    ended.set(task, new Promise((resolve) => { settle.set(task, resolve); }));
  }
  const results = await Promise.all(all.map(async (one) => {
    /** @type {import('./jobs').Result[]} */
    const own = [];
    for (const step of one.steps) {
      if ('after' in step) {
        if (!await ended.get(step.after)) {
          break;
        }
        continue;
      }
      const result = await runTask(step.task, one.prefix);
      own.push(result);
      settle.get(step.task)?.(result.passed);
      if (!result.passed) {
        break;
      }
    }
    // Nobody waits for what is not run any more.
    tasksOf(one).forEach((task) => settle.get(task)?.(false));
    return own;
  }));
  return results.flat();
}

async function main() {
  const results = await runLanes(lanes(process.argv.slice(2)),
    (name, prefix) => runJob({ name, command: [...prefix, PROJEN, name] }));
  console.log(`\n${table(results)}`);
  const failed = results.filter(({ passed }) => !passed);
  if (failed.length > 0) {
    throw new Error(`failed: ${failed.map(({ name }) => name).join(', ')}`);
  }
}

if (require.main === module) {
  void runMain(main);
}

module.exports = { lanes, runLanes };
