import { execFile } from 'child_process';
import { neutralEnvironment } from '../../scripts/run';

/** How long a command may take: an installation over a slow network is the longest. */
const LIMIT_MS = 280_000;

/** Runs a command and returns what it writes to stdout. Its whole output is in the error when it fails. */
export async function run(program: string, args: string[], cwd: string, environment: NodeJS.ProcessEnv = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { cwd, env: { ...neutralEnvironment(), ...environment }, timeout: LIMIT_MS, maxBuffer: 1e8 };
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error) {
        const ending = error.killed ? `took longer than ${LIMIT_MS / 1000} s` : `failed (${error.code})`;
        reject(new Error(`${[program, ...args].join(' ')} ${ending}\n${stdout}\n${stderr}`));
      } else {
        resolve(stdout);
      }
    });
  });
}
