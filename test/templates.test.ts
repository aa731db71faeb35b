// What CloudFormation would say of the templates, as far as cfn-lint knows.
import { spawnSync } from 'child_process';
import * as fs from 'fs';
import * as path from 'path';
import { App, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { authKey, makeFunction, makeProxy } from './constructs';
import { testWithPython } from './prerequisite';
import { TailscaleLambdaExtension } from '../src';

const CFN_LINT = path.join(__dirname, '..', '.venv', 'bin', 'cfn-lint');

/** The stacks to check, by their names. */
const STACKS: Record<string, (stack: Stack) => void> = {
  ProxyAndCaller: (stack) => {
    makeProxy(stack).grantInvokeUrl(makeFunction(stack, 'Caller'));
  },
  ProfilesWithoutAnAlias: (stack) => {
    const caller = makeFunction(stack, 'Caller');
    const proxy = makeProxy(stack, { functionUrl: false });
    proxy.addProfile('billing', { allowedTargets: ['billing:8080'] }).grantInvokeUrl(caller);
    proxy.addProfile('reports', { allowedTargets: ['reports'], functionUrl: false }).grantInvoke(caller);
  },
  EveryOptionOutsideAVpc: (stack) => {
    const proxy = makeProxy(stack, {
      tsAdvertiseTags: 'tag:lambda',
      tsControlUrl: 'https://headscale.example.com',
      invokeMode: lambda.InvokeMode.RESPONSE_STREAM,
      cors: { allowedOrigins: ['https://example.com'], allowedMethods: [lambda.HttpMethod.GET] },
      allowedTargets: ['10.1.0.0/16:443'],
      options: {
        extension: { layerVersionName: 'tailscale', license: 'MIT' },
        lambda: {
          functionName: 'tailscale-proxy',
          architecture: lambda.Architecture.ARM_64,
          logGroup: new logs.LogGroup(stack, 'Logs', { retention: logs.RetentionDays.ONE_MONTH }),
          tracing: lambda.Tracing.ACTIVE,
          reservedConcurrentExecutions: 5,
          provisionedConcurrentExecutions: 1,
        },
        warmer: { functionName: 'tailscale-proxy-warmer', concurrentInvocations: 2 },
      },
    });
    proxy.grantInvokeUrl(new iam.AccountPrincipal('444455556666'));
    proxy.addProfile('billing', { allowedTargets: ['10.1.2.3:443'] }).grantInvokeUrl(new iam.AccountPrincipal('444455556666'));
    proxy.applyRemovalPolicy(RemovalPolicy.RETAIN);
  },
  VpcAndEncryptedSecret: (stack) => {
    const vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', {
      vpcId: 'vpc-0123456789abcdef0', availabilityZones: ['eu-west-1a'], privateSubnetIds: ['subnet-0123456789abcdef0'],
    });
    const secret = new secretsmanager.Secret(stack, 'Encrypted', { encryptionKey: new kms.Key(stack, 'Key') });
    makeProxy(stack, { tsAuthKeySecret: secret, options: { lambda: { vpc } } });
  },
  AliasAlarmsAndDashboard: (stack) => {
    const proxy = makeProxy(stack, {
      suppressNagFindings: true,
      options: {
        lambda: { alias: true, loggingFormat: lambda.LoggingFormat.JSON, deadLetterQueueEnabled: true },
        warmer: { reservedConcurrentExecutions: 1 },
      },
    });
    proxy.createAlarms({ threshold: 2 });
    proxy.addToDashboard(new cloudwatch.Dashboard(stack, 'Dashboard'));
    proxy.addCaller(makeFunction(stack, 'Caller'));
  },
  ExtensionAlone: (stack) => {
    const extension = new TailscaleLambdaExtension(stack, 'Tailscale');
    extension.addToFunction(makeFunction(stack, 'Reports'), { tsAuthKeySecret: authKey(stack), tsHostname: 'reports', tsShieldsUp: false });
    extension.addPermission('Other', { accountId: '444455556666' });
  },
};

testWithPython()('cfn-lint finds nothing in them', () => {
  const app = new App();
  const stacks = Object.entries(STACKS).map(([name, make]) => {
    const stack = new Stack(app, name, { env: { account: '111122223333', region: 'eu-west-1' } });
    make(stack);
    return stack;
  });
  const { directory } = app.synth();
  const templates = stacks.map((stack) => path.join(directory, stack.templateFile));
  // W3005: the CDK writes down a dependency where a reference implies it already.
  const options = ['--non-zero-exit-code', 'informational', '--ignore-checks', 'W3005'];

  expect(templates.filter((template) => fs.existsSync(template))).toHaveLength(6);
  const { stdout, stderr, status } = spawnSync(CFN_LINT, [...options, '--', ...templates], { encoding: 'utf8' });

  expect(stdout + stderr).toBe('');
  expect(status).toBe(0);
}, 60_000);
