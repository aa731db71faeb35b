import { App, Duration, Lazy, Stack, Stage } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { makeProxy as proxyOf, problems } from './constructs';
import { TailscaleLambdaProxy, TailscaleLambdaProxyProps, TailscaleLambdaProxyPropsLambdaOption } from '../src';

let stack: Stack;

beforeEach(() => {
  stack = new Stack(new App(), 'Network');
});

const makeProxy = (props: Partial<TailscaleLambdaProxyProps>) => proxyOf(stack, props);

const certificate = (length: number) => `-----BEGIN CERTIFICATE-----\n${'A'.repeat(length - 54)}\n-----END CERTIFICATE-----`;
const vpc = () => ec2.Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-1', availabilityZones: ['eu-west-1a'], privateSubnetIds: ['subnet-1'] });

test.each<[string, Partial<TailscaleLambdaProxyProps>]>([
  ['tsHostname is "not a name": use 1 to 63', { tsHostname: 'not a name' }],
  ['connectTimeout is 0 millis: use a duration from 1 milli to 15 minutes', { connectTimeout: Duration.millis(0) }],
  ['responseTimeout is 20 minutes: use a duration', { responseTimeout: Duration.minutes(20) }],
  ['firstByteTimeout is 16 minutes: use a duration from 0 millis to 15 minutes', { firstByteTimeout: Duration.minutes(16) }],
  ['idleTimeout is 1 day: use a duration', { idleTimeout: Duration.days(1) }],
  ['allowedTargets is an empty list: name at least one target', { allowedTargets: [] }],
  ['allowedTargets is "two words": use an address', { allowedTargets: ['db', 'two words'] }],
  ['allowedTargets is "a,b": use an address', { allowedTargets: ['a,b'] }],
  ['allowedTargets is "[fd7a::1": use an address', { allowedTargets: ['[fd7a::1'] }],
  ['caCertificates is not PEM text: give certificates that begin with', { caCertificates: 'MIIB' }],
  ['caCertificates is 3001 characters long: keep it to 3000', { caCertificates: certificate(3001) }],
  ['caCertificatesFile is "authorities.pem": use an absolute path, such as "/opt/authorities.pem"', { caCertificatesFile: 'authorities.pem' }],
  ['cors.maxAge is 2 days: use a duration from 0 seconds to 1 day', { cors: { maxAge: Duration.days(2) } }],
  [
    'the environment is 4220 bytes long: Lambda has room for 4096: shorten caCertificates',
    { caCertificates: certificate(3000), allowedTargets: [`*.${'x'.repeat(1100)}`] },
  ],
])('synthesis refuses: %s', (message, props) => {
  makeProxy(props);

  expect(problems(stack)).toEqual([expect.stringContaining(`[Network/Proxy] ${message}`)]);
});

test.each<[string, TailscaleLambdaProxyPropsLambdaOption]>([
  ['functionName is "a proxy": use 1 to 64 letters', { functionName: 'a proxy' }],
  [`description is "${'x'.repeat(257)}": use 256 characters at most`, { description: 'x'.repeat(257) }],
  ['timeout is 1 hour: use a duration from 1 second to 15 minutes', { timeout: Duration.hours(1) }],
  ['memorySize is 64: use a whole number of MB from 128 to 10240', { memorySize: 64 }],
  ['vpcSubnets is set without a VPC: name the VPC with options.lambda.vpc as well', { vpcSubnets: { subnetType: ec2.SubnetType.PUBLIC } }],
  ['securityGroups is set without a VPC: name the VPC with options.lambda.vpc as well', { securityGroups: [] }],
  ['environment is one that has "TS_HOSTNAME": use the prop of the construct', { environment: { TS_HOSTNAME: 'other' } }],
  ['environment is one that has "MY-NAME": use names of letters, digits and underscores', { environment: { 'MY-NAME': 'x' } }],
  ['reservedConcurrentExecutions is -1: use a whole number of environments, 0 or more', { reservedConcurrentExecutions: -1 }],
  ['provisionedConcurrentExecutions is 0: use a whole number of environments, 1 or more', { provisionedConcurrentExecutions: 0 }],
  [
    'provisionedConcurrentExecutions is 3: more than options.lambda.reservedConcurrentExecutions, which is 2, cannot be provisioned',
    { reservedConcurrentExecutions: 2, provisionedConcurrentExecutions: 3 },
  ],
])('synthesis refuses: options.lambda.%s', (message, options) => {
  makeProxy({ options: { lambda: options } });

  expect(problems(stack)).toEqual([expect.stringContaining(`[Network/Proxy] options.lambda.${message}`)]);
});

test('the problems of a stage are those of its synthesis', () => {
  const stage = new Stage(stack.node.root, 'Production');
  new TailscaleLambdaProxy(new Stack(stage, 'Network'), 'Proxy', { tsHostname: 'x' });

  expect(problems(stack)).toEqual([expect.stringContaining('[Production/Network/Proxy] tsAuthKeySecret is not set')]);
});

test('an architecture without binaries is refused', () => {
  makeProxy({ options: { lambda: { architecture: lambda.Architecture.custom('riscv64') }, warmer: { architecture: lambda.Architecture.custom('s390x') } } });

  expect(problems(stack)).toEqual([
    expect.stringContaining('options.lambda.architecture is "riscv64": this package holds no binaries for it'),
    expect.stringContaining('options.warmer.architecture is "s390x": this package holds no binaries for it'),
  ]);
});

test('all problems of all constructs are reported at once', () => {
  const proxy = makeProxy({ tsHostname: 'not a name', allowedTargets: [], options: { lambda: { memorySize: 64, vpc: vpc() }, warmer: { concurrentInvocations: 0 } } });
  new TailscaleLambdaProxy(stack, 'Other', { tsHostname: '' });

  // What an app does with a proxy does not hide them.
  proxy.connections.allowToAnyIpv4(ec2.Port.tcp(443));
  expect(proxy.warmer).toBeDefined();
  expect(problems(stack)).toEqual([
    expect.stringContaining('[Network/Proxy] tsHostname is "not a name"'),
    expect.stringContaining('[Network/Proxy] allowedTargets is an empty list'),
    expect.stringContaining('[Network/Proxy] options.lambda.memorySize is 64'),
    expect.stringContaining('[Network/Proxy] options.warmer.concurrentInvocations is 0'),
    expect.stringContaining('[Network/Other] tsHostname is ""'),
    expect.stringContaining('[Network/Other] tsAuthKeySecret is not set: name the secret that holds the Tailscale auth key'),
  ]);
});

test('refuses to stream from a VPC, with the reason', () => {
  makeProxy({ invokeMode: lambda.InvokeMode.RESPONSE_STREAM, options: { lambda: { vpc: vpc() } } });

  expect(problems(stack)).toEqual([
    expect.stringContaining('invokeMode is RESPONSE_STREAM: Lambda does not stream responses from a function in a VPC: use BUFFERED'),
  ]);
});

test('leaves to the deployment what only it knows', () => {
  const number = Lazy.number({ produce: () => 3 });
  const text = Lazy.string({ produce: () => 'x'.repeat(5000) });

  makeProxy({
    options: {
      lambda: {
        reservedConcurrentExecutions: number, provisionedConcurrentExecutions: 5, memorySize: number, functionName: text, environment: { MORE: text },
      },
    },
  });

  expect(problems(stack)).toEqual([]);
});

test('accepts an environment that is as large as Lambda allows', () => {
  makeProxy({ caCertificates: certificate(3000), options: { lambda: { environment: { MORE: 'x'.repeat(880) } } } });

  expect(problems(stack)).toEqual([]);
});
