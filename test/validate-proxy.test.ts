import { App, Duration, Lazy, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { useFixtureZips } from './fixture-zips';
import { TailscaleLambdaProxy, TailscaleLambdaProxyProps, TailscaleLambdaProxyPropsLambdaOption } from '../src';

let stack: Stack;

beforeEach(() => {
  useFixtureZips();
  stack = new Stack(new App(), 'Network');
});

function makeProxy(props: Partial<TailscaleLambdaProxyProps>): TailscaleLambdaProxy {
  const tsSecretApiKey = secretsmanager.Secret.fromSecretNameV2(stack, 'Secret', 'tailscale-api-key');
  return new TailscaleLambdaProxy(stack, 'Proxy', { tsSecretApiKey, tsHostname: 'lambda-test', ...props });
}

const certificate = (length: number) => `-----BEGIN CERTIFICATE-----\n${'A'.repeat(length - 54)}\n-----END CERTIFICATE-----`;
const vpc = () => ec2.Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-1', availabilityZones: ['eu-west-1a'], privateSubnetIds: ['subnet-1'] });

test.each<[string, Partial<TailscaleLambdaProxyProps>]>([
  ['tsHostname is "not a name": use 1 to 63', { tsHostname: 'not a name' }],
  ['connectTimeout is ', { connectTimeout: Duration.millis(0) }],
  ['responseTimeout is 20 minutes: use a duration', { responseTimeout: Duration.minutes(20) }],
  ['allowedTargets is an empty list: name at least one target', { allowedTargets: [] }],
  ['allowedTargets is "two words": use an address', { allowedTargets: ['db', 'two words'] }],
  ['allowedTargets is "a,b": use an address', { allowedTargets: ['a,b'] }],
  ['allowedTargets is "[fd7a::1": use an address', { allowedTargets: ['[fd7a::1'] }],
  ['caCertificates is no PEM text: give certificates that begin with', { caCertificates: 'MIIB' }],
  ['caCertificates is 3001 characters long: keep it to 3000', { caCertificates: certificate(3001) }],
  ['cors.maxAge is 2 days: use a duration from 0 seconds to 1 day', { cors: { maxAge: Duration.days(2) } }],
  [
    'the environment is 4196 bytes long: Lambda has room for 4096: shorten caCertificates',
    { caCertificates: certificate(3000), allowedTargets: [`*.${'x'.repeat(1100)}`] },
  ],
])('refuses before the first resource: %s', (message, props) => {
  expect(() => makeProxy(props)).toThrow(`Network/Proxy: ${message}`);
  expect(Template.fromStack(stack).toJSON().Resources).toBeUndefined();
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
])('refuses before the first resource: options.lambda.%s', (message, options) => {
  expect(() => makeProxy({ options: { lambda: options } })).toThrow(`Network/Proxy: options.lambda.${message}`);
  expect(Template.fromStack(stack).toJSON().Resources).toBeUndefined();
});

test('refuses an architecture that there are no zips for', () => {
  expect(() => makeProxy({ options: { lambda: { architecture: lambda.Architecture.custom('riscv64') } } })).toThrow('architecture is "riscv64"');
  expect(Template.fromStack(stack).toJSON().Resources).toBeUndefined();
});

test('refuses to stream from a VPC, with the reason', () => {
  expect(() => makeProxy({ invokeMode: lambda.InvokeMode.RESPONSE_STREAM, options: { lambda: { vpc: vpc() } } }))
    .toThrow('Network/Proxy: invokeMode is RESPONSE_STREAM: Lambda streams no answers from a function in a VPC: use BUFFERED');
  expect(Template.fromStack(stack).toJSON().Resources).toBeUndefined();
});

test('leaves to the deployment what only it knows', () => {
  const number = Lazy.number({ produce: () => 3 });
  const text = Lazy.string({ produce: () => 'x'.repeat(5000) });

  expect(() => makeProxy({
    options: {
      lambda: {
        reservedConcurrentExecutions: number, provisionedConcurrentExecutions: 5, memorySize: number, functionName: text, environment: { MORE: text },
      },
    },
  })).not.toThrow();
});

test('accepts an environment that is as large as Lambda allows', () => {
  expect(() => makeProxy({ caCertificates: certificate(3000), options: { lambda: { environment: { MORE: 'x'.repeat(900) } } } })).not.toThrow();
});
