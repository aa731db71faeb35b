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
  const [first, ...rest] = words.split(' ').filter(Boolean);
  const beneath = first === BENEATH;
  const steps = (beneath ? rest : [first, ...rest]).filter(Boolean)
    .map((word) => word.startsWith(AFTER) ? { after: word.slice(AFTER.length) } : { task: word });
  return { prefix: beneath ? GIVING_WAY : [], steps };
}

/**
 * The lanes, each with a task, and with nothing to wait for that no other lane has.
 * @param {string[]} words
 */
function lanes(words) {
  const found = words.map(lane);
  const tasks = found.flatMap(({ steps }) => steps.flatMap((step) => 'task' in step ? [step.task] : []));
  for (const { steps } of found) {
    if (!steps.some((step) => 'task' in step)) {
      throw new Error('a lane without tasks: give the tasks of each lane as one argument');
    }
    const unknown = steps.flatMap((step) => 'after' in step && !tasks.includes(step.after) ? [step.after] : []);
    if (unknown.length > 0) {
      throw new Error(`no lane has the task "${unknown[0]}" that is waited for`);
    }
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
  const tasksOf = (/** @type {Lane} */ { steps }) => steps.flatMap((step) => 'task' in step ? [step.task] : []);
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
