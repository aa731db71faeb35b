import * as fs from 'fs';
import * as path from 'path';
import { App, CfnParameter, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as ecr from 'aws-cdk-lib/aws-ecr';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { authKey, makeFunction, problems, variablesOf } from './constructs';
import { TailscaleFunctionOptions, TailscaleJoin, TailscaleLambdaExtension } from '../src';

let stack: Stack;
let fn: lambda.Function;
let extension: TailscaleLambdaExtension;

beforeEach(() => {
  stack = new Stack(new App(), 'Network');
  extension = new TailscaleLambdaExtension(stack, 'Tailscale');
  fn = makeFunction(stack, 'Handler');
});

function options(more: Partial<TailscaleFunctionOptions> = {}): TailscaleFunctionOptions {
  return { tsAuthKeySecret: authKey(stack), tsHostname: 'reports', ...more };
}

const variables = () => variablesOf(fn) as Record<string, string>;

test('proxyEnvironment leads HTTP clients to the extension, and AWS and the environment itself around it', () => {
  extension.addToFunction(fn, options({ proxyEnvironment: true, noProxy: ['.internal.example.com'] }));

  const proxy = 'http://127.0.0.1:1055';
  const set = variables();
  expect(set).toMatchObject({ HTTP_PROXY: proxy, http_proxy: proxy, HTTPS_PROXY: proxy, https_proxy: proxy, ALL_PROXY: proxy, all_proxy: proxy });
  expect(set.NODE_USE_ENV_PROXY).toBe('1');
  expect(set.NO_PROXY).toBe(set.no_proxy);
  expect(set.NO_PROXY.split(',')).toEqual(expect.arrayContaining(
    ['localhost', '127.0.0.1', '169.254.169.254', '.amazonaws.com', '.api.aws', '.on.aws', '.internal.example.com']));
});

test('the end-to-end tests set the same variables', () => {
  extension.addToFunction(fn, options({ proxyEnvironment: true }));

  const rust = fs.readFileSync(path.join(__dirname, '../rust/testbed/tests/local_ports/clients.rs'), 'utf8');
  const constant = (name: string) => new RegExp(`const ${name}: &str =\\s*"([^"]*)"`).exec(rust)?.[1].replace(/\\\n\s*/g, '');
  expect(variables()).toMatchObject({ HTTP_PROXY: constant('PROXY'), NO_PROXY: constant('NO_PROXY') });
});

test('without proxyEnvironment no client is led anywhere', () => {
  extension.addToFunction(fn, options());

  expect(Object.keys(variables()).filter((name) => /proxy/i.test(name))).toEqual([]);
});

test('forwards and the time to join are rendered, also where only the deployment knows them', () => {
  const port = new CfnParameter(stack, 'Port', { type: 'Number' });
  const target = new CfnParameter(stack, 'Target');

  extension.addToFunction(fn, options({
    tsJoin: TailscaleJoin.LAZY,
    forwards: [{ localPort: 5432, target: 'db.example.ts.net:5432' }, { localPort: port.valueAsNumber, target: target.valueAsString }],
  }));

  expect(variables()).toMatchObject({
    TS_JOIN: 'lazy',
    TS_FORWARDS: { 'Fn::Join': ['', ['5432=db.example.ts.net:5432,', { Ref: 'Port' }, '=', { Ref: 'Target' }]] },
  });
});

test.each<[Partial<TailscaleFunctionOptions>, string]>([
  [{ forwards: [{ localPort: 80, target: 'db:1' }] }, 'forwards.localPort is 80: use a whole number of a port from 1024 to 65535'],
  [{ forwards: [{ localPort: 1055, target: 'db:1' }] }, 'forwards.localPort is 1055, which is the extension\'s own: use another port'],
  [{ forwards: [{ localPort: 9001, target: 'db:1' }] }, 'forwards.localPort is 9001, which is Lambda\'s Runtime API\'s: use another port'],
  [{ forwards: [{ localPort: 5432, target: 'a:1' }, { localPort: 5432, target: 'b:1' }] }, 'forwards.localPort is 5432 twice: use each port once'],
  [{ forwards: [{ localPort: 5432, target: 'db' }] }, 'forwards.target is "db": use host:port'],
  [{ forwards: [{ localPort: 5432, target: 'db:70000' }] }, 'forwards.target is "db:70000": use a port from 1 to 65535'],
  [{ forwards: Array.from({ length: 33 }, (_, n) => ({ localPort: 5000 + n, target: 'db:1' })) }, 'forwards is 33 entries: use 32 at most'],
  [{ tsJoin: TailscaleJoin.LAZY, tsRequireTailnet: true }, 'tsJoin is "lazy" beside tsRequireTailnet: a function that needs the tailnet'],
  [{ noProxy: ['.example.com'] }, 'noProxy is set without proxyEnvironment: set proxyEnvironment to true as well'],
  [{ proxyEnvironment: true, noProxy: ['a,b'] }, 'noProxy is "a,b": use one host'],
])('refuses %j', (more, message) => {
  extension.addToFunction(fn, options(more));

  expect(problems(stack)).toEqual(expect.arrayContaining([expect.stringContaining(message)]));
});

describe('a function from a container image', () => {
  // Any repository: it is not looked at.
  const image = () => new lambda.DockerImageFunction(stack, 'Image', {
    code: lambda.DockerImageCode.fromEcr(ecr.Repository.fromRepositoryName(stack, 'Repository', 'reports')),
  });

  test('gets the variables and the secret, and no layer', () => {
    extension.addToImageFunction(image(), options());

    Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', {
      PackageType: 'Image', Layers: Match.absent(), Environment: { Variables: { TS_HOSTNAME: 'reports' } },
    });
    Template.fromStack(stack).resourceCountIs('AWS::IAM::Policy', 1);
  });

  test('is not a function with a zip', () => {
    extension.addToImageFunction(fn, options());
    expect(problems(stack)).toEqual(expect.arrayContaining([expect.stringContaining('use addToFunction, which adds the layer')]));
  });
});
