import { ChildProcess, spawn } from 'child_process';
import * as path from 'path';
import { createInterface } from 'readline';
import { tool } from './folders';

/** How long moto may take until it listens, in milliseconds. */
const START_LIMIT_MS = 60_000;

/** AWS on this machine, played by moto. */
export interface Aws {
  /** What makes the CDK and the SDKs talk to it. */
  readonly environment: NodeJS.ProcessEnv;
  readonly server: ChildProcess;
}

/** Starts moto on a port that is free. */
export async function startAws(): Promise<Aws> {
  const server = spawn(tool('python'), [path.join(__dirname, 'moto_with_urls.py'), '-H', '127.0.0.1', '-p', '0'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const endpoint = await new Promise<string>((resolve, reject) => {
    const told: string[] = [];
    const fail = (why: string) => reject(new Error(`moto ${why}:\n${told.join('\n')}`));
    const limit = setTimeout(() => fail(`does not listen after ${START_LIMIT_MS / 1000} s`), START_LIMIT_MS);
    server.once('error', (error) => fail(error.message));
    server.once('exit', (code) => fail(`ended with exit code ${code}`));
    // Read to the end: a pipe that nobody empties would stop the server.
    createInterface({ input: server.stderr }).on('line', (line) => {
      told.push(line);
      const url = line.match(/Running on (http:\/\/127\.0\.0\.1:\d+)/)?.[1];
      if (url) {
        clearTimeout(limit);
        resolve(url);
      }
    });
  });
  return {
    server,
    environment: {
      AWS_ENDPOINT_URL: endpoint,
      AWS_ACCESS_KEY_ID: 'AKIDDEPLOYER',
      AWS_SECRET_ACCESS_KEY: 'deployer-secret',
      AWS_REGION: 'eu-west-1',
      AWS_DEFAULT_REGION: 'eu-west-1',
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_CONFIG_FILE: '/dev/null',
      AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
      CDK_DISABLE_CLI_TELEMETRY: 'true',
    },
  };
}

/** Ends it. */
export async function stopAws({ server }: Aws): Promise<void> {
  if (server.exitCode === null && server.signalCode === null) {
    const ended = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGKILL');
    await ended;
  }
}
