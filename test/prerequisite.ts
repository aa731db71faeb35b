// What some tests need beyond `npm ci`. `npm test` fetches it first, and says by EVERY_TEST that nothing may be skipped.
import { spawnSync } from 'child_process';
import * as fs from 'fs';
import * as path from 'path';

const ROOT = path.join(__dirname, '..');

/**
 * The `test` for tests that need a file of the checkout which a command makes: without the file they are skipped, and it is
 * said how to run them.
 */
export function testWith(file: string, command: string): jest.It {
  return testIf(() => fs.existsSync(path.join(ROOT, file)), `${file} is missing: run "${command}" first`);
}

/** The `test` for tests that need the Python environment of the project. */
export const testWithPython = () => testWith('.venv/bin/python', 'npx projen python:venv');

/** The `test` for tests that need no more of Python than what it comes with. */
export const testWithPlainPython = () =>
  testIf(() => spawnSync('python3', ['--version']).status === 0, 'python3 is missing: install Python 3.9 or later');

function testIf(isThere: () => boolean, why: string): jest.It {
  if (process.env.EVERY_TEST || isThere()) {
    return test;
  }
  process.stderr.write(`${path.relative(ROOT, expect.getState().testPath ?? '')}: tests are skipped, because ${why}\n`);
  return test.skip;
}
