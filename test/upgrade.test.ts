// The construct that deployed stacks were made with, as published, against this one: the same app, and what becomes of
// its resources. `npx projen published:fetch` puts the published package into .published/.
import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import * as typescript from 'typescript';
import './constructs';
import { testWith } from './prerequisite';
import * as current from '../src';

const NAME = 'tailscale-lambda-proxy';
const PUBLISHED = path.join(__dirname, '..', '.published', 'node_modules', NAME);

/** What a template holds, as far as it is looked at here. */
type Resources = Record<string, { Type: string; Properties: Record<string, unknown> }>;

/** As much of the published package as apps use. */
type Package = Pick<typeof current, 'TailscaleLambdaProxy'>;

const test = testWith('.published/node_modules', 'npx projen python:venv && npx projen published:fetch');

let published: Package;

beforeEach(() => {
  published = jest.requireActual(PUBLISHED);
});

/** The resources of a stack that is made with a package, in an app with feature flags. */
function resources(make: (app: App) => Stack, flags: Record<string, boolean> = {}): Resources {
  // Callers' code is not bundled: it is none of the construct's.
  const app = new App({ context: { 'aws:cdk:bundling-stacks': [], ...flags } });
  return Template.fromStack(make(app)).toJSON().Resources;
}

/** Those that a deployment must not replace or lose. The layer may move: its versions are replaced all the time. */
function deployed(template: Resources): [string, string][] {
  return Object.entries(template).filter(([, { Type }]) => Type !== 'AWS::Lambda::LayerVersion').map(([id, { Type }]) => [id, Type]);
}

describe('the published README\'s example', () => {
  let folder: string;
  const before = process.cwd();

  // The example's caller is made from a file of the app, which is looked for from the working directory.
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'app-'));
    const caller = path.join(folder, 'lib', 'lambda', 'tailscale-caller');
    fs.mkdirSync(caller, { recursive: true });
    fs.writeFileSync(path.join(caller, 'index.ts'), 'export const handler = async () => {};');
    fs.writeFileSync(path.join(folder, 'package-lock.json'), '{}');
    process.chdir(folder);
  });

  afterEach(() => {
    process.chdir(before);
    fs.rmSync(folder, { recursive: true });
  });

  /** Its stack, of an app that has this package installed. */
  function example(installed: Package): new (scope: App, id: string) => Stack {
    const readme = fs.readFileSync(path.join(PUBLISHED, 'README.md'), 'utf8');
    const source = [...readme.matchAll(/```typescript\n([^]*?)```/g)].map(([, code]) => code).find((code) => code.includes('new TailscaleLambdaProxy('));
    const { outputText } = typescript.transpileModule(source ?? '', { compilerOptions: { module: typescript.ModuleKind.CommonJS } });
    const exported: { MyStack?: new (scope: App, id: string) => Stack } = {};
    const load = (name: string) => name === NAME ? installed : jest.requireActual(name);
    new Function('exports', 'require', outputText)(exported, load);
    return exported.MyStack!;
  }

  test('synthesizes unchanged, and each resource stays what it was', () => {
    const was = resources((app) => new (example(published))(app, 'MyStack'));
    const is = resources((app) => new (example(current))(app, 'MyStack'));

    expect(deployed(was).map(([, type]) => type).sort()).toEqual([
      'AWS::IAM::Policy', 'AWS::IAM::Policy', 'AWS::IAM::Role', 'AWS::IAM::Role', 'AWS::Lambda::Function', 'AWS::Lambda::Function', 'AWS::Lambda::Url',
    ]);
    expect(deployed(is)).toEqual(expect.arrayContaining(deployed(was)));
    const [url] = deployed(was).filter(([, type]) => type === 'AWS::Lambda::Url');
    expect(is[url[0]].Properties.TargetFunctionArn).toEqual(was[url[0]].Properties.TargetFunctionArn);
    expect(is[url[0]].Properties.AuthType).toEqual(was[url[0]].Properties.AuthType);
  });
});

/** A stack with a proxy that has every prop of the published construct. */
function everyProp({ TailscaleLambdaProxy }: Package, flags?: Record<string, boolean>): Resources {
  return resources((app) => {
    const stack = new Stack(app, 'Network');
    new TailscaleLambdaProxy(stack, 'tailscale-proxy', {
      tsSecretApiKey: secretsmanager.Secret.fromSecretNameV2(stack, 'tailscale-api-key', 'tailscale-api-key'),
      tsHostname: 'lambda-test',
      tsAdvertiseTags: 'tag:lambda',
      tsExitNode: '100.64.0.7',
      tsExitNodeRequired: true,
      tsExitNodePingTimeout: 2000,
      tsExitNodePingRetries: 10,
      options: {
        extension: { layerVersionName: 'tailscale-extension' },
        lambda: { functionName: 'tailscale-proxy', nodeTlsRejectUnauthorized: false },
        warmer: { functionName: 'tailscale-proxy-warmer', concurrentInvocations: 5 },
      },
      debug: true,
    });
    return stack;
  }, flags);
}

test('the log groups that the CDK makes stay what they were', () => {
  const flags = { '@aws-cdk/aws-lambda:useCdkManagedLogGroup': true };
  const logGroups = (template: Resources) => Object.entries(template).filter(([, { Type }]) => Type === 'AWS::Logs::LogGroup')
    .map(([id, { Properties }]) => [id, Properties.LogGroupName]);

  const was = logGroups(everyProp(published, flags));
  expect(was).toHaveLength(2);
  expect(logGroups(everyProp(current, flags))).toEqual(was);
});

test('each prop of the published construct means what it meant, and each resource stays what it was', () => {
  const was = everyProp(published);
  const is = everyProp(current);

  expect(deployed(is)).toEqual(expect.arrayContaining(deployed(was)));
  const [[proxy]] = deployed(was).filter(([, type]) => type === 'AWS::Lambda::Function');
  expect(is[proxy].Properties).toMatchObject({
    FunctionName: was[proxy].Properties.FunctionName, Timeout: was[proxy].Properties.Timeout, MemorySize: was[proxy].Properties.MemorySize,
  });
  const environment = (template: Resources) => template[proxy].Properties.Environment as { Variables: Record<string, unknown> };
  const variables = (template: Resources) => Object.entries(environment(template).Variables);
  const shared = variables(was).filter(([name]) => name.startsWith('TS_'));
  expect(shared).toHaveLength(7);
  expect(variables(is)).toEqual(expect.arrayContaining(shared));
});
