'use strict';
// Runs commands side by side, shows the output of each in one piece when it has ended (or, where that is asked for, as it
// comes), and a table of what took how long.

const { spawn } = require('child_process');

/**
 * A command to run.
 * @typedef {object} Job
 * @property {string} name what the table calls it
 * @property {string[]} command
 * @property {string} [cwd]
 * @property {Record<string, string>} [env] added to this process's environment
 * @property {boolean} [live] its output is shown as it comes
 */

/**
 * A command that has ended.
 * @typedef {object} Result
 * @property {string} name
 * @property {number} seconds
 * @property {boolean} passed
 * @property {string} output
 */

/** A job that takes longer hangs: it is killed. */
const LIMIT_MINUTES = 60;

/**
 * @param {Job} job
 * @returns {Promise<Result>}
 */
function runJob({ name, command: [program, ...args], cwd, env, live }) {
  console.log(`${name}: started`);
  const began = Date.now();
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const limit = setTimeout(() => child.kill('SIGTERM'), LIMIT_MINUTES * 60_000);
    /** @type {Buffer[]} */
    const chunks = [];
    [child.stdout, child.stderr].forEach((stream) => stream.on('data', (chunk) => {
      chunks.push(chunk);
      if (live) {
        process.stdout.write(chunk);
      }
    }));
    /** @param {string} ending */
    const end = (ending) => {
      clearTimeout(limit);
      const result = { name, seconds: (Date.now() - began) / 1000, passed: ending === '', output: Buffer.concat(chunks).toString() + ending };
      const verdict = result.passed ? 'passed' : 'FAILED';
      console.log(`\n=== ${name}: ${verdict} after ${result.seconds.toFixed(0)} s\n${live ? '' : result.output}`);
      resolve(result);
    };
    child.on('error', (error) => end(`${program} could not be started: ${error.message}\n`));
    child.on('close', (code, signal) => end(code === 0 ? '' : `${program} ended with ${signal ?? `exit code ${code}`}\n`));
  });
}

/**
 * Runs jobs, at most `width` at a time, in their order. A job that fails does not stop the others.
 * @param {Job[]} jobs
 * @param {number} width
 * @returns {Promise<Result[]>} in the order of the jobs
 */
async function sideBySide(jobs, width) {
  /** @type {Result[]} */
  const results = [];
  const left = jobs.entries();
  const worker = async () => {
    for (const [index, job] of left) {
      results[index] = await runJob(job);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
}

/**
 * The table at the end: what took how long, the longest first.
 * @param {Result[]} results
 */
function table(results) {
  const rows = [...results].sort((one, other) => other.seconds - one.seconds);
  return rows.map(({ name, seconds, passed }) => `${seconds.toFixed(1).padStart(8)} s  ${passed ? '      ' : 'FAILED'}  ${name}`).join('\n');
}

/** So much of what failed is shown again at the end: who sees only the end of a long log sees why. */
const LAST_LINES = 80;

/**
 * Prints how jobs ended; throws when one has failed.
 * @param {Result[]} results
 */
function report(results) {
  const failed = results.filter(({ passed }) => !passed);
  failed.forEach(({ name, output }) => console.log(`\n=== ${name} failed; its last lines:\n${output.split('\n').slice(-LAST_LINES).join('\n')}`));
  console.log(`\n${table(results)}`);
  if (failed.length > 0) {
    throw new Error(`failed: ${failed.map(({ name }) => name).join('; ')}`);
  }
}

module.exports = { report, runJob, sideBySide, table };
