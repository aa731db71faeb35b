'use strict';
// Runs projen tasks in lanes: `node scripts/lanes.js "jest eslint" "rust:lint rust:test" then "packages"` runs the tasks of
// each lane one after the other, and the lanes side by side; what is after `then` begins when they have ended. A task that
// fails ends its lane, and no stage follows a failure.

const path = require('path');
const { runJob, table } = require('./jobs');
const { runMain } = require('./run');

/** Stands between stages. */
const THEN = 'then';

const PROJEN = path.join(__dirname, '..', 'node_modules', '.bin', 'projen');

/**
 * @param {string[]} tasks
 */
async function lane(tasks) {
  const results = [];
  for (const name of tasks) {
    const result = await runJob({ name, command: [PROJEN, name] });
    results.push(result);
    if (!result.passed) {
      break;
    }
  }
  return results;
}

/**
 * The lanes of each stage, as lists of tasks.
 * @param {string[]} words
 */
function stages(words) {
  /** @type {string[][][]} */
  const found = [[]];
  for (const word of words) {
    if (word === THEN) {
      found.push([]);
    } else {
      found[found.length - 1].push(word.split(' ').filter(Boolean));
    }
  }
  if (found.some((lanes) => lanes.length === 0 || lanes.some((tasks) => tasks.length === 0))) {
    throw new Error('a stage without tasks: give the tasks of each lane as one argument');
  }
  return found;
}

async function main() {
  /** @type {import('./jobs').Result[]} */
  const results = [];
  for (const lanes of stages(process.argv.slice(2))) {
    results.push(...(await Promise.all(lanes.map(lane))).flat());
    if (results.some(({ passed }) => !passed)) {
      break;
    }
  }
  console.log(`\n${table(results)}`);
  const failed = results.filter(({ passed }) => !passed);
  if (failed.length > 0) {
    throw new Error(`failed: ${failed.map(({ name }) => name).join(', ')}`);
  }
}

if (require.main === module) {
  void runMain(main);
}

module.exports = { THEN, stages };
