// Into the tailnet with the function's own role: what either package makes of `tsWorkloadIdentity`.
import * as fs from 'fs';
import * as path from 'path';
import { applications, python, pythonApp, ROOT, typescriptApp } from './folders';
import { run } from './run';

interface Statement {
  readonly Action: string | string[];
}

interface Resource {
  readonly Type: string;
  readonly Properties: { PolicyDocument?: { Statement: Statement[] }; Environment?: { Variables: Record<string, unknown> } };
}

const APPS = path.join(ROOT, 'test', 'packages', 'keyless');
/** Each language's program and the folder where its package is installed. */
const LANGUAGES: Record<string, () => [program: string, app: string, folder: string]> = {
  typescript: () => [path.join(typescriptApp(), 'node_modules', '.bin', 'tsx'), 'keyless.ts', typescriptApp()],
  python: () => [python(), 'keyless.py', pythonApp()],
};

const templates: Record<string, string> = {};

beforeAll(async () => {
  for (const [language, places] of Object.entries(LANGUAGES)) {
    const [program, app, folder] = places();
    const assembly = path.join(applications(), `keyless-${language}.out`);
    // Beside what is installed: that is where either language looks for the package.
    fs.copyFileSync(path.join(APPS, app), path.join(folder, app));
    await run(program, [app], folder, { CDK_OUTDIR: assembly, JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION: '20' });
    templates[language] = fs.readFileSync(path.join(assembly, 'Keyless.template.json'), 'utf8');
  }
});

describe.each(Object.keys(LANGUAGES))('a stack without a stored key, in %s', (language) => {
  const resources = () => Object.values<Resource>(JSON.parse(templates[language]).Resources);

  test('may ask for a token for Tailscale, count requests, and nothing else', () => {
    const policies = resources().filter(({ Type }) => Type === 'AWS::IAM::Policy');

    expect(policies.flatMap(({ Properties }) => Properties.PolicyDocument!.Statement)).toEqual([
      {
        Action: 'sts:GetWebIdentityToken',
        Effect: 'Allow',
        Resource: '*',
        Condition: {
          'ForAllValues:StringEquals': { 'sts:IdentityTokenAudience': 'api.tailscale.com/T1234567890CNTRL-kQ9' },
          'NumericLessThanEquals': { 'sts:DurationSeconds': 300 },
          'StringEquals': { 'sts:SigningAlgorithm': 'ES384' },
        },
      },
      {
        Action: 'cloudwatch:PutMetricData',
        Effect: 'Allow',
        Resource: '*',
        Condition: { StringEquals: { 'cloudwatch:namespace': 'tailscale-service' } },
      },
    ]);
  });

  test('has one role, whose managed policy lets it write logs alone, and which only Lambda may take', () => {
    const roles = resources().filter(({ Type }) => Type === 'AWS::IAM::Role');

    expect(roles.map(({ Properties }) => Properties)).toEqual([{
      AssumeRolePolicyDocument: {
        Statement: [{ Action: 'sts:AssumeRole', Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' } }],
        Version: '2012-10-17',
      },
      ManagedPolicyArns: [{ 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':iam::aws:policy/service-role/AWSLambdaBasicExecutionRole']] }],
    }]);
  });

  test('names the client and its tags to the function, and no secret anywhere', () => {
    const [fn, ...others] = resources().filter(({ Type }) => Type === 'AWS::Lambda::Function');

    expect(others).toEqual([]);
    expect(fn.Properties.Environment!.Variables).toMatchObject({
      TS_WORKLOAD_IDENTITY_CLIENT_ID: 'T1234567890CNTRL-kQ9', TS_ADVERTISE_TAGS: 'tag:lambda,tag:reports',
    });
    expect(templates[language]).not.toMatch(/secretsmanager|TS_SECRET_API_KEY|kms:/i);
  });

  test('tells what the trust credential at Tailscale is made with', () => {
    const outputs = Object.values<{ Value: unknown }>(JSON.parse(templates[language]).Outputs).map(({ Value }) => Value);

    expect(outputs).toEqual([
      expect.stringContaining('get-outbound-web-identity-federation-info'),
      { 'Fn::GetAtt': [expect.stringContaining('ServiceRole'), 'Arn'] },
      'api.tailscale.com/T1234567890CNTRL-kQ9',
      'tag:lambda,tag:reports',
    ]);
  });
});

test('both languages make the same policies and outputs', () => {
  const [typescript, py] = ['typescript', 'python'].map((language) => {
    const { Resources, Outputs } = JSON.parse(templates[language]);
    return { Outputs, policies: Object.entries<Resource>(Resources).filter(([, { Type }]) => Type.startsWith('AWS::IAM::')) };
  });

  expect(typescript.policies).toHaveLength(2);
  expect(py).toEqual(typescript);
});
