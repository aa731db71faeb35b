import { App, CfnParameter, Lazy, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as ecr from 'aws-cdk-lib/aws-ecr';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { authKey, makeFunction, problems } from './constructs';
import { TailscaleLambdaExtension, TailscaleLambdaProxy } from '../src';

let stack: Stack;
let secret: secretsmanager.ISecret;

beforeEach(() => {
  stack = new Stack(new App(), 'Network');
  secret = authKey(stack);
});

const handler = (architecture: lambda.Architecture, runtime = lambda.Runtime.PYTHON_3_13) => makeFunction(stack, 'Handler', { architecture, runtime });

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

test.each([
  ['Amazon Linux 2023', lambda.Runtime.PYTHON_3_13], ['Amazon Linux 2, with glibc 2.26', lambda.Runtime.PYTHON_3_11],
])('gives a function on %s the layer, the environment and the secret', (_, runtime) => {
  const fn = handler(lambda.Architecture.X86_64, runtime);
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
  new TailscaleLambdaExtension(stack, 'Tailscale').addPermission('Reports', permission);

  expect(problems(stack)).toEqual([expect.stringContaining(`[Network/Tailscale] ${message}`)]);
});

test('an organization that is an empty text counts as unset', () => {
  new TailscaleLambdaExtension(stack, 'Tailscale').addPermission('Reports', { accountId: '111122223333', organizationId: '' });

  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::LayerVersionPermission', { OrganizationId: Match.absent() });
});

test.each<[RemovalPolicy | undefined, number]>([[undefined, 1], [RemovalPolicy.RETAIN, 0]])(
  'warns where other accounts may use a layer that the next release deletes: removalPolicy %s', (removalPolicy, count) => {
    new TailscaleLambdaExtension(stack, 'Tailscale', { options: { removalPolicy } }).addPermission('Reports', { accountId: '111122223333' });

    expect(Annotations.fromStack(stack).findWarning('/Network/Tailscale', Match.stringLikeRegexp('tailscale-lambda-proxy:layerPermission'))).toHaveLength(count);
  });

describe('one layer for each stack', () => {
  const layersOf = (of: Stack) => Object.keys(Template.fromStack(of).findResources('AWS::Lambda::LayerVersion'));

  test('a function of another stack takes a layer of its own stack: nothing is exported', () => {
    const app = new App();
    stack = new Stack(app, 'Network');
    const other = new Stack(app, 'Application');
    const extension = new TailscaleLambdaExtension(stack, 'Tailscale');
    const fn = makeFunction(other, 'Reports');

    extension.addToFunction(fn, { tsAuthKeySecret: authKey(other), tsHostname: 'reports' });

    const [layer] = layersOf(other);
    Template.fromStack(other).hasResourceProperties('AWS::Lambda::Function', { Layers: [{ Ref: layer }] });
    expect(JSON.stringify(Template.fromStack(other).toJSON())).not.toContain('Fn::ImportValue');
    expect(other.dependencies).toEqual([]);
    expect(layersOf(stack)).toHaveLength(1);
  });

  test('is shared by all that ask for the same', () => {
    const first = new TailscaleLambdaExtension(stack, 'First');
    const second = new TailscaleLambdaExtension(stack, 'Second', { options: { description: '' } });
    new TailscaleLambdaProxy(stack, 'Proxy', { tsAuthKeySecret: secret, tsHostname: 'proxy' });
    first.addPermission('Other', { accountId: '111122223333' });
    second.addPermission('Other', { accountId: '444455556666' });

    expect(layersOf(stack)).toHaveLength(1);
    expect(second.layer).toBe(first.layer);
  });

  test('keeps its id if its name is known to the deployment alone', () => {
    const ids = [0, 3].map((tokens) => {
      stack = new Stack(new App(), 'Network');
      Array.from({ length: tokens }).forEach(() => Lazy.string({ produce: () => 'another token' }));
      new TailscaleLambdaExtension(stack, 'Tailscale', { options: { layerVersionName: new CfnParameter(stack, 'Name').valueAsString } });
      return layersOf(stack)[0];
    });

    expect(ids[1]).toBe(ids[0]);
  });

  test('is another one for another architecture, and for other options', () => {
    new TailscaleLambdaExtension(stack, 'X86');
    new TailscaleLambdaExtension(stack, 'Arm', { architecture: lambda.Architecture.ARM_64 });
    new TailscaleLambdaExtension(stack, 'Named', { options: { layerVersionName: 'tailscale' } });

    expect(layersOf(stack)).toHaveLength(3);
  });
});

describe('synthesis refuses', () => {
  const options = () => ({ tsAuthKeySecret: secret, tsHostname: 'reports' });

  test('a function of another architecture', () => {
    new TailscaleLambdaExtension(stack, 'Tailscale').addToFunction(handler(lambda.Architecture.ARM_64), options());

    expect(problems(stack)).toEqual([
      expect.stringContaining('[Network/Tailscale] architecture is "x86_64": Network/Handler has "arm64": give the extension the function\'s'),
    ]);
  });

  test('a container image', () => {
    const fn = new lambda.DockerImageFunction(stack, 'Image', {
      code: lambda.DockerImageCode.fromEcr(ecr.Repository.fromRepositoryName(stack, 'Repository', 'images')),
    });
    new TailscaleLambdaExtension(stack, 'Tailscale').addToFunction(fn, options());

    expect(problems(stack)).toEqual([
      expect.stringContaining('[Network/Tailscale] fn is Network/Image, which is a container image: Lambda has no layers for images: put the extension into the image, and use addToImageFunction'),
    ]);
  });

  test.each<[string, (fn: lambda.Function) => void]>([
    ['set before', () => undefined],
    ['set on the resource', (fn) => { (fn.node.defaultChild as lambda.CfnFunction).snapStart = { applyOn: 'PublishedVersions' }; }],
  ])('SnapStart, %s', (when, later) => {
    const fn = makeFunction(stack, 'Snap', { snapStart: when === 'set before' ? lambda.SnapStartConf.ON_PUBLISHED_VERSIONS : undefined });
    new TailscaleLambdaExtension(stack, 'Tailscale').addToFunction(fn, options());
    later(fn);

    expect(problems(stack)).toEqual([expect.stringContaining('[Network/Snap] snapStart is set: the environments of a snapshot would share one machine')]);
  });

  test('a second extension for one function, of the same construct or of another', () => {
    const fn = handler(lambda.Architecture.X86_64);
    const extension = new TailscaleLambdaExtension(stack, 'Tailscale');
    extension.addToFunction(fn, options());
    extension.addToFunction(fn, options());
    new TailscaleLambdaExtension(stack, 'Other').addToFunction(fn, options());

    expect(problems(stack)).toEqual([
      expect.stringContaining('[Network/Tailscale] fn is Network/Handler, which has the extension already: add it once to each function'),
      expect.stringContaining('[Network/Other] fn is Network/Handler, which has the extension already'),
    ]);
  });

  test('a proxy\'s own function', () => {
    const proxy = new TailscaleLambdaProxy(stack, 'Proxy', { tsAuthKeySecret: secret, tsHostname: 'proxy' });
    proxy.extension.addToFunction(proxy.lambda, options());

    expect(problems(stack)).toEqual([expect.stringContaining('which has the extension already')]);
  });

  test('bad options, and leaves the function as it is', () => {
    const fn = handler(lambda.Architecture.X86_64);
    new TailscaleLambdaExtension(stack, 'Tailscale').addToFunction(fn, { ...options(), tsHostname: 'not a name' });

    expect(problems(stack)).toEqual([expect.stringContaining('[Network/Tailscale] tsHostname is "not a name"')]);
    expect(fn.node.findAll().filter((child) => child instanceof iam.CfnPolicy)).toEqual([]);
  });
});
