import { createHash } from 'crypto';
import * as fs from 'fs';
import * as path from 'path';
import { applications, ROOT, tool, typescriptApp } from './folders';
import { Aws, startAws, stopAws } from './moto';
import { run } from './run';

/** moto takes a template's URL for one with the bucket in its path only if "localhost" is in it: as the bootstrap's name it is. */
const QUALIFIER = 'localhost';

interface Deployed {
  readonly functions: { name: string; code: string; variables: Record<string, string>; url: { auth: string; url: string } | null }[];
  readonly layers: string[];
}

let aws: Aws;

beforeAll(async () => {
  aws = await startAws();
});

afterAll(() => stopAws(aws));

async function cdk(...args: string[]): Promise<string> {
  // Outside of the app, whose types are checked meanwhile.
  const options = ['--output', path.join(applications(), 'deployed.out'), '--no-notices'];
  return run(path.join(typescriptApp(), 'node_modules', '.bin', 'cdk'), [...args, ...options], typescriptApp(), aws.environment);
}

/** As Lambda tells what it was given. */
function digest(zip: string): string {
  return createHash('sha256').update(fs.readFileSync(path.join(ROOT, 'assets', 'x86_64', zip))).digest('base64');
}

test('the CDK\'s own command line deploys the app: the zips arrive as they were built, and the caller knows the URL', async () => {
  await cdk('bootstrap', 'aws://123456789012/eu-west-1', '--qualifier', QUALIFIER);
  await cdk('deploy', 'TailnetProxy', '--context', `@aws-cdk/core:bootstrapQualifier=${QUALIFIER}`, '--require-approval', 'never');

  const deployed: Deployed = JSON.parse(await run(tool('python'), [path.join(__dirname, 'deployed.py')], ROOT, aws.environment));
  const named = (part: string) => deployed.functions.find(({ name }) => name.startsWith(`TailnetProxy-${part}`));
  const proxy = named('Proxy');
  expect(proxy).toMatchObject({ code: digest('proxy.zip'), url: { auth: 'AWS_IAM' }, variables: { TS_HOSTNAME: 'lambda-proxy' } });
  expect(named('Caller')?.variables.TS_PROXY_URL).toBe(`${proxy?.url?.url}/`);
  expect(named('Unsigned')?.variables).toMatchObject({ TS_PROXY_URL: `${proxy?.url?.url}/`, HTTP_PROXY: 'http://localhost:8055' });
  expect(deployed.layers.sort()).toEqual([digest('caller.zip'), digest('extension.zip')].sort());
});
