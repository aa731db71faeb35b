import { App, Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { problems, statements, variablesOf } from './constructs';
import { TailscaleLambdaProxy, TailscaleLambdaProxyPropsOptions } from '../src';

let stack: Stack;

beforeEach(() => {
  stack = new Stack(new App(), 'Network');
});

function makeProxy(options: TailscaleLambdaProxyPropsOptions, debug?: boolean): TailscaleLambdaProxy {
  const tsSecretApiKey = secretsmanager.Secret.fromSecretNameV2(stack, 'tailscale-api-key', 'tailscale-api-key');
  return new TailscaleLambdaProxy(stack, 'tailscale-proxy', { tsSecretApiKey, tsHostname: 'lambda-test', debug, options });
}

const warmerStatements = () => statements(stack, 'tailscaleproxyproxywarmer');

test('there is no warmer unless it is asked for', () => {
  const proxy = makeProxy({});

  expect(proxy.warmer).toBeUndefined();
  expect(proxy.warmerRule).toBeUndefined();
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::Lambda::Function', 1);
  template.resourceCountIs('AWS::Events::Rule', 0);
});

test('by default three environments are kept warm, every five minutes, by the proxy\'s own code', () => {
  const proxy = makeProxy({ warmer: {} });

  const template = Template.fromStack(stack);
  const code = stack.resolve((proxy.lambda.node.defaultChild as lambda.CfnFunction).code);
  template.hasResourceProperties('AWS::Lambda::Function', {
    Code: { S3Key: code.s3Key },
    FunctionName: Match.absent(),
    Runtime: 'provided.al2023',
    Architectures: ['x86_64'],
    Timeout: 60,
    Layers: Match.absent(),
    Environment: {
      Variables: { TS_WARMER_FUNCTION: stack.resolve(proxy.lambda.functionArn), TS_WARMER_INVOCATIONS: '3', TS_DEBUG: Match.absent() },
    },
  });
  template.hasResourceProperties('AWS::Events::Rule', {
    ScheduleExpression: 'rate(5 minutes)',
    State: 'ENABLED',
    Targets: [Match.objectLike({ Arn: stack.resolve(proxy.warmer!.functionArn), RetryPolicy: { MaximumRetryAttempts: 0 } })],
  });
  template.hasResourceProperties('AWS::Lambda::EventInvokeConfig', {
    FunctionName: stack.resolve(proxy.warmer!.functionName), MaximumRetryAttempts: 0,
  });
});

test('takes a name, a number, an interval, the function\'s architecture and debug', () => {
  makeProxy({
    lambda: { architecture: lambda.Architecture.ARM_64 },
    warmer: { functionName: 'proxy-warmer', concurrentInvocations: 10, interval: Duration.minutes(1) },
  }, true);

  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::Lambda::Function', {
    FunctionName: 'proxy-warmer',
    Architectures: ['arm64'],
    Environment: { Variables: Match.objectLike({ TS_WARMER_INVOCATIONS: '10', TS_DEBUG: 'true' }) },
  });
  template.hasResourceProperties('AWS::Events::Rule', { ScheduleExpression: 'rate(1 minute)' });
});

test('takes the options that every function has: a VPC, a limit, a queue for what failed, its logs\' retention', () => {
  const vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-1', availabilityZones: ['eu-west-1a'], privateSubnetIds: ['subnet-1'] });
  makeProxy({
    warmer: {
      vpc, reservedConcurrentExecutions: 1, deadLetterQueueEnabled: true, logRetention: logs.RetentionDays.ONE_WEEK, tracing: lambda.Tracing.ACTIVE,
    },
  });

  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::Lambda::Function', {
    Environment: { Variables: Match.objectLike({ TS_WARMER_INVOCATIONS: '3' }) },
    VpcConfig: { SubnetIds: ['subnet-1'] },
    ReservedConcurrentExecutions: 1,
    DeadLetterConfig: { TargetArn: Match.anyValue() },
    TracingConfig: { Mode: 'Active' },
  });
  template.hasResourceProperties('AWS::Logs::LogGroup', { RetentionInDays: 7 });
  template.hasResourceProperties('AWS::Logs::LogGroup', { RetentionInDays: 90 });
});

test('may invoke the proxy\'s function, and nothing else', () => {
  const proxy = makeProxy({ warmer: {} });

  expect(warmerStatements()).toEqual([
    { Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: stack.resolve(proxy.lambda.functionArn) },
  ]);
});

test('invokes the alias where there is one, and may not invoke the function beside it', () => {
  const proxy = makeProxy({ lambda: { provisionedConcurrentExecutions: 2 }, warmer: {} });

  const aliasArn = stack.resolve(proxy.alias!.functionArn);
  expect(warmerStatements()).toEqual([{ Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: aliasArn }]);
  expect(variablesOf(proxy.warmer!)).toMatchObject({ TS_WARMER_FUNCTION: aliasArn });
});

// Read from a template that tailscale-lambda-proxy 0.0.15 makes from the same ids.
test('has the logical ids that deployed stacks have', () => {
  const proxy = makeProxy({ warmer: {} });

  expect(stack.getLogicalId(proxy.warmer!.node.defaultChild as lambda.CfnFunction)).toMatch(/^tailscaleproxyproxywarmerlambda[0-9A-F]{8}$/);
  expect(proxy.warmerRule!.node.path).toBe('Network/tailscale-proxy/proxy-warmer-rule');
});

test.each<[TailscaleLambdaProxyPropsOptions, string]>([
  [{ warmer: { functionName: 'two words' } }, 'options.warmer.functionName is "two words": use 1 to 64 letters'],
  [{ warmer: { concurrentInvocations: 0 } }, 'options.warmer.concurrentInvocations is 0: use a whole number of environments from 1 to 100'],
  [{ warmer: { concurrentInvocations: 101 } }, 'options.warmer.concurrentInvocations is 101: use a whole number'],
  [{ warmer: { interval: Duration.seconds(90) } }, 'options.warmer.interval is 1 minute 30 seconds: use whole minutes'],
  [{ warmer: { interval: Duration.hours(2) } }, 'options.warmer.interval is 2 hours: use a duration from 1 minute to 1 hour'],
  [
    { warmer: {}, lambda: { reservedConcurrentExecutions: 3 } },
    'options.warmer.concurrentInvocations is 3: use fewer than options.lambda.reservedConcurrentExecutions (3)',
  ],
  [
    { warmer: { concurrentInvocations: 1 }, lambda: { reservedConcurrentExecutions: 1 } },
    'options.warmer is set: with options.lambda.reservedConcurrentExecutions at 1 warm-ups leave no environment for requests: reserve 2 or more',
  ],
])('synthesis refuses %j', (options, message) => {
  makeProxy(options);

  expect(problems(stack)).toEqual([expect.stringContaining(message)]);
});
