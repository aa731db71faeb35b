// Into the tailnet with the function's own role: both packages make the same of `tsWorkloadIdentity`. What it is to make,
// test/workload-identity.test.ts says.
import * as fs from 'fs';
import * as path from 'path';
import { applications, python, pythonApp, typescriptApp } from './folders';
import { run } from './run';

/** What an app makes of it: the outputs, the variables of its function, and the policies. */
async function made(program: string, app: string, folder: string) {
  const assembly = path.join(applications(), `${app}.out`);
  await run(program, [app], folder, { CDK_OUTDIR: assembly, JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION: '20' });
  const text = fs.readFileSync(path.join(assembly, 'Keyless.template.json'), 'utf8');
  expect(text).not.toMatch(/secretsmanager|TS_SECRET_API_KEY|kms:/i);
  const { Resources, Outputs } = JSON.parse(text);
  const all = Object.entries<{ Type: string; Properties: any }>(Resources);
  return {
    Outputs,
    variables: all.filter(([, { Type }]) => Type === 'AWS::Lambda::Function').map(([, { Properties }]) => Properties.Environment.Variables),
    policies: all.filter(([, { Type }]) => Type.startsWith('AWS::IAM::')),
  };
}

test('both languages make the same stack without a stored key', async () => {
  const typescript = await made(path.join(typescriptApp(), 'node_modules', '.bin', 'tsx'), 'keyless.ts', typescriptApp());

  expect(await made(python(), 'keyless.py', pythonApp())).toEqual(typescript);
  expect(typescript.variables).toEqual([expect.objectContaining({
    TS_WORKLOAD_IDENTITY_CLIENT_ID: 'T1234567890CNTRL-kQ9', TS_ADVERTISE_TAGS: 'tag:lambda,tag:reports',
  })]);
  expect(Object.keys(typescript.Outputs)).toHaveLength(4);
  expect(typescript.policies).toHaveLength(2);
  expect(JSON.stringify(typescript.policies)).toContain('sts:GetWebIdentityToken');
});
