import { App, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { useFixtureZips } from './fixture-zips';
import { TailscaleLambdaExtension } from '../src';

let stack: Stack;
let secret: secretsmanager.ISecret;

beforeEach(() => {
  useFixtureZips();
  stack = new Stack(new App(), 'Network');
  secret = secretsmanager.Secret.fromSecretNameV2(stack, 'Secret', 'tailscale-api-key');
});

function handler(architecture: lambda.Architecture, runtime = lambda.Runtime.PYTHON_3_13): lambda.Function {
  return new lambda.Function(stack, 'Handler', {
    runtime,
    handler: 'index.handler',
    code: lambda.Code.fromInline('def handler(event, context): pass'),
    architecture,
  });
}

test.each([
  [undefined, 'x86_64'],
  [lambda.Architecture.ARM_64, 'arm64'],
])('makes a layer for one architecture: %s is %s', (architecture, name) => {
  new TailscaleLambdaExtension(stack, 'Tailscale', { architecture });

  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::LayerVersion', { CompatibleArchitectures: [name] });
});

test('passes the layer\'s options on', () => {
  new TailscaleLambdaExtension(stack, 'Tailscale', {
    options: { layerVersionName: 'tailscale', license: 'MIT', removalPolicy: RemovalPolicy.RETAIN },
  });

  Template.fromStack(stack).hasResource('AWS::Lambda::LayerVersion', {
    Properties: Match.objectLike({ LayerName: 'tailscale', LicenseInfo: 'MIT' }),
    DeletionPolicy: 'Retain',
  });
});

test('makes nothing but the layer by itself', () => {
  new TailscaleLambdaExtension(stack, 'Tailscale');

  expect(Object.values(Template.fromStack(stack).toJSON().Resources).map((resource) => (resource as { Type: string }).Type))
    .toEqual(['AWS::Lambda::LayerVersion']);
});

test('gives a function of any runtime the layer, the environment and the secret', () => {
  const fn = handler(lambda.Architecture.X86_64);
  const extension = new TailscaleLambdaExtension(stack, 'Tailscale');

  extension.addToFunction(fn, { tsSecretApiKey: secret, tsHostname: 'reports', tsAdvertiseTags: 'tag:lambda' });

  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::Lambda::Function', {
    Layers: [stack.resolve(extension.layer.layerVersionArn)],
    Environment: {
      Variables: { TS_SECRET_API_KEY: stack.resolve(secret.secretArn), TS_HOSTNAME: 'reports', TS_ADVERTISE_TAGS: 'tag:lambda' },
    },
  });
  template.hasResourceProperties('AWS::IAM::Policy', {
    PolicyDocument: {
      Statement: [{ Effect: 'Allow', Action: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'], Resource: Match.anyValue() }],
    },
  });
});

test('tells a function what only a function with the extension alone may want', () => {
  const extension = new TailscaleLambdaExtension(stack, 'Tailscale');

  extension.addToFunction(handler(lambda.Architecture.X86_64), {
    tsSecretApiKey: secret, tsSecretField: 'authKey', tsHostname: 'reports', tsShieldsUp: false, tsRequireTailnet: true,
  });

  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', {
    Environment: { Variables: { TS_SECRET_FIELD: 'authKey', TS_SHIELDS_UP: 'false', TS_REQUIRE_TAILNET: 'true' } },
  });
});

test('lets other accounts use the layer', () => {
  const extension = new TailscaleLambdaExtension(stack, 'Tailscale');

  extension.addPermission('Reports', { accountId: '111122223333' });
  extension.addPermission('Organization', { accountId: '*', organizationId: 'o-a1b2c3d4e5' });

  const template = Template.fromStack(stack);
  const permission = { Action: 'lambda:GetLayerVersion', LayerVersionArn: stack.resolve(extension.layer.layerVersionArn) };
  template.hasResourceProperties('AWS::Lambda::LayerVersionPermission', { ...permission, Principal: '111122223333', OrganizationId: Match.absent() });
  template.hasResourceProperties('AWS::Lambda::LayerVersionPermission', { ...permission, Principal: '*', OrganizationId: 'o-a1b2c3d4e5' });
});

test.each<[lambda.LayerVersionPermission, string]>([
  [{ accountId: '1111' }, 'accountId is "1111": use the account\'s 12 digits'],
  [{ accountId: '111122223333', organizationId: 'o-a1b2c3d4e5' }, 'organizationId is "o-a1b2c3d4e5" with accountId "111122223333": an organization'],
])('refuses to let in %j', (permission, message) => {
  expect(() => new TailscaleLambdaExtension(stack, 'Tailscale').addPermission('Reports', permission)).toThrow(`Network/Tailscale: ${message}`);
});

test('two functions can share one layer', () => {
  const extension = new TailscaleLambdaExtension(stack, 'Tailscale');
  const other = new lambda.Function(stack, 'Other', {
    runtime: lambda.Runtime.NODEJS_22_X, handler: 'index.handler', code: lambda.Code.fromInline('exports.handler = async () => {};'),
  });

  extension.addToFunction(handler(lambda.Architecture.X86_64), { tsSecretApiKey: secret, tsHostname: 'one' });
  extension.addToFunction(other, { tsSecretApiKey: secret, tsHostname: 'two' });

  Template.fromStack(stack).resourceCountIs('AWS::Lambda::LayerVersion', 1);
});

test('refuses a function of another architecture', () => {
  const extension = new TailscaleLambdaExtension(stack, 'Tailscale');

  expect(() => extension.addToFunction(handler(lambda.Architecture.ARM_64), { tsSecretApiKey: secret, tsHostname: 'reports' }))
    .toThrow('Network/Tailscale: architecture is "x86_64": Network/Handler has "arm64": give the extension the function\'s');
});

test('refuses a function whose C library is too old', () => {
  const extension = new TailscaleLambdaExtension(stack, 'Tailscale');

  expect(() => extension.addToFunction(handler(lambda.Architecture.X86_64, lambda.Runtime.PYTHON_3_11), { tsSecretApiKey: secret, tsHostname: 'reports' }))
    .toThrow('Network/Tailscale: runtime is "python3.11" in Network/Handler: the extension needs Amazon Linux 2023: use a later runtime');
});

test('refuses bad options before the function is touched', () => {
  const fn = handler(lambda.Architecture.X86_64);
  const extension = new TailscaleLambdaExtension(stack, 'Tailscale');

  expect(() => extension.addToFunction(fn, { tsSecretApiKey: secret, tsHostname: 'not a name' })).toThrow('tsHostname is "not a name"');
  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', { Layers: Match.absent(), Environment: Match.absent() });
});
