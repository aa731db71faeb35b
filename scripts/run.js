'use strict';
const { spawnSync } = require('child_process');

/**
 * Runs a command with this terminal's output, and fails with words when it fails.
 * @param {string} program
 * @param {string[]} args
 * @param {import('child_process').SpawnSyncOptions} [options]
 */
function run(program, args, options = {}) {
  const result = spawnSync(program, args, { stdio: 'inherit', ...options });
  if (result.error) {
    throw new Error(`${program} could not be started: ${result.error.message}`);
  }
  if (result.status !== 0) {
    const ending = result.signal ? `was ended by ${result.signal}` : `failed with exit code ${result.status}`;
    throw new Error(`${[program, ...args].join(' ')} ${ending}`);
  }
}

/** This process's environment, without what npm and GitHub tell a script of the package that it runs for. */
function neutralEnvironment() {
  const foreign = /^(npm_(package|lifecycle|config_local_prefix|command|execpath|node_execpath)|INIT_CWD$|VIRTUAL_ENV$|NODE_PATH$|GITHUB_|ACTIONS_)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}

/**
 * Runs a script's main function; what it throws goes to stderr in one line, and the exit code is 1.
 * @param {() => void | Promise<void>} main
 */
async function runMain(main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}

module.exports = { neutralEnvironment, run, runMain };
