import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { App, CfnOutput, Duration, RemovalPolicy, Size, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import { FIXTURE_ASSETS, makeProxy as proxyOf, problems, statements, urlStatements, useFixtureZips, variablesOf, warnings } from './constructs';
import { TailscaleLambdaProxyProps, TailscaleLambdaProxyPropsLambdaOption } from '../src';

let stack: Stack;

beforeEach(() => {
  stack = new Stack(new App(), 'Network');
});

const makeProxy = (options: TailscaleLambdaProxyPropsLambdaOption) => proxyOf(stack, { options: { lambda: options } });

test('takes Lambda\'s own options', () => {
  const logGroup = new logs.LogGroup(stack, 'Logs', { retention: logs.RetentionDays.ONE_MONTH });

  makeProxy({
    functionName: 'tailscale-proxy',
    description: 'To the office',
    memorySize: 512,
    timeout: Duration.seconds(90),
    environment: { RUST_BACKTRACE: '1' },
    logGroup,
    tracing: lambda.Tracing.ACTIVE,
    reservedConcurrentExecutions: 10,
    ephemeralStorageSize: Size.gibibytes(1),
    environmentEncryption: kms.Key.fromKeyArn(stack, 'Key', 'arn:aws:kms:eu-west-1:111122223333:key/0d9c1b2a-1111-2222-3333-444455556666'),
    codeSigningConfig: lambda.CodeSigningConfig.fromCodeSigningConfigArn(stack, 'Signing',
      'arn:aws:lambda:eu-west-1:111122223333:code-signing-config:csc-0123456789abcdef0'),
    recursiveLoop: lambda.RecursiveLoop.ALLOW,
    initialPolicy: [new iam.PolicyStatement({ actions: ['s3:GetObject'], resources: ['arn:aws:s3:::reports/*'] })],
  });

  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', {
    FunctionName: 'tailscale-proxy',
    Description: 'To the office',
    MemorySize: 512,
    Timeout: 90,
    Environment: { Variables: Match.objectLike({ RUST_BACKTRACE: '1', TS_HOSTNAME: 'lambda-test' }) },
    LoggingConfig: { LogGroup: stack.resolve(logGroup.logGroupName) },
    TracingConfig: { Mode: 'Active' },
    ReservedConcurrentExecutions: 10,
    EphemeralStorage: { Size: 1024 },
    KmsKeyArn: Match.stringLikeRegexp('0d9c1b2a'),
    CodeSigningConfigArn: Match.stringLikeRegexp('csc-'),
    RecursiveLoop: 'Allow',
  });
  expect(statements(stack)).toContainEqual(expect.objectContaining({ Action: 's3:GetObject' }));
});

describe('logs', () => {
  test('are kept for three months, in a log group of the function\'s own', () => {
    makeProxy({});

    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::Logs::LogGroup', { RetentionInDays: 90, LogGroupName: Match.absent() });
    template.hasResourceProperties('AWS::Lambda::Function', {
      LoggingConfig: { LogGroup: { Ref: Object.keys(template.findResources('AWS::Logs::LogGroup'))[0] } }, TracingConfig: Match.absent(),
    });
  });

  test('are kept for as long as logRetention says, without a function that sets it', () => {
    makeProxy({ logRetention: logs.RetentionDays.ONE_WEEK, logRemovalPolicy: RemovalPolicy.DESTROY });

    const template = Template.fromStack(stack);
    template.hasResource('AWS::Logs::LogGroup', { Properties: { RetentionInDays: 7 }, DeletionPolicy: 'Delete' });
    template.resourceCountIs('Custom::LogRetention', 0);
  });

  test('are kept for three months where the CDK makes the log group, which keeps its name', () => {
    stack = new Stack(new App({ context: { '@aws-cdk/aws-lambda:useCdkManagedLogGroup': true } }), 'Network');
    makeProxy({ logRemovalPolicy: RemovalPolicy.DESTROY });

    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::Logs::LogGroup', 1);
    template.hasResource('AWS::Logs::LogGroup', {
      Properties: { RetentionInDays: 90, LogGroupName: { 'Fn::Join': ['', ['/aws/lambda/', { Ref: Match.stringLikeRegexp('lambda') }]] } },
      DeletionPolicy: 'Delete',
    });
  });

  test.each([false, true])('are kept for ever if they are to be (CDK\'s log group: %s)', (flag) => {
    stack = new Stack(new App({ context: { '@aws-cdk/aws-lambda:useCdkManagedLogGroup': flag } }), 'Network');
    makeProxy({ logRetention: logs.RetentionDays.INFINITE });

    Template.fromStack(stack).hasResourceProperties('AWS::Logs::LogGroup', { RetentionInDays: Match.absent() });
  });

  test('are kept as the log group that is given says', () => {
    makeProxy({ logGroup: new logs.LogGroup(stack, 'Logs'), logRetention: logs.RetentionDays.ONE_DAY });

    expect(problems(stack)).toEqual([
      '[Network/Proxy] options.lambda.logRetention is set beside options.lambda.logGroup: set it on that log group instead',
    ]);
  });

  test('can be JSON, of a level', () => {
    makeProxy({ loggingFormat: lambda.LoggingFormat.JSON, applicationLogLevelV2: lambda.ApplicationLogLevel.WARN });

    Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', { LoggingConfig: { LogFormat: 'JSON', ApplicationLogLevel: 'WARN' } });
  });
});

test('an empty text counts as unset', () => {
  makeProxy({ functionName: '', description: '' });

  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', {
    FunctionName: Match.absent(), Description: 'Forwards HTTP requests into a tailnet',
  });
});

test.each<[string, TailscaleLambdaProxyPropsLambdaOption]>([
  ['snapStart is set: Lambda has no SnapStart for the runtime', { snapStart: lambda.SnapStartConf.ON_PUBLISHED_VERSIONS }],
  ['events is set: the function understands requests of its Function URL', { events: [] }],
  ['paramsAndSecrets is set: ', { paramsAndSecrets: lambda.ParamsAndSecretsLayerVersion.fromVersion(lambda.ParamsAndSecretsVersions.V1_0_103) }],
  ['profiling is set: Amazon CodeGuru cannot profile native programs', { profiling: true }],
  ['retryAttempts is 3: use a whole number of retries from 0 to 2', { retryAttempts: 3 }],
  ['maxEventAge is 1 second: use a duration from 1 minute to 6 hours', { maxEventAge: Duration.seconds(1) }],
])('refuses what does not work with the proxy or its warmer: %s', (message, options) => {
  proxyOf(stack, { options: { lambda: options, warmer: options } });

  expect(problems(stack)).toEqual([
    expect.stringContaining(`[Network/Proxy] options.lambda.${message}`), expect.stringContaining(`[Network/Proxy] options.warmer.${message}`),
  ]);
});

describe('the time that a target may take', () => {
  test.each<[string, string | undefined, Partial<TailscaleLambdaProxyProps>]>([
    ['is a minute by default', '60000', {}],
    ['is what it is set to', '600000', { responseTimeout: Duration.minutes(10) }],
    ['is that of a function with less', undefined, { options: { lambda: { timeout: Duration.seconds(30) } } }],
    ['has no limit of its own for a streamed response', undefined, { invokeMode: lambda.InvokeMode.RESPONSE_STREAM }],
  ])('%s', (_, expected, props) => {
    expect(variablesOf(proxyOf(stack, props).lambda).TS_RESPONSE_TIMEOUT).toBe(expected);
  });
});

test('runs as the role that it is given, which gets the permissions that the proxy needs', () => {
  const role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') });

  makeProxy({ role });

  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::IAM::Role', 1);
  template.hasResourceProperties('AWS::Lambda::Function', { Role: stack.resolve(role.roleArn) });
  template.hasResourceProperties('AWS::IAM::Policy', {
    Roles: [stack.resolve(role.roleName)],
    PolicyDocument: {
      Statement: [
        Match.objectLike({ Action: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'] }),
        Match.objectLike({ Action: 'cloudwatch:PutMetricData' }),
      ],
    },
  });
});

describe('in a VPC', () => {
  let vpc: ec2.IVpc;

  beforeEach(() => {
    vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', {
      vpcId: 'vpc-1', availabilityZones: ['eu-west-1a'], privateSubnetIds: ['subnet-private'], isolatedSubnetIds: ['subnet-isolated'],
    });
  });

  test('runs in the private subnets, in a security group that lets nothing in', () => {
    makeProxy({ vpc });

    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::Lambda::Function', {
      VpcConfig: { SubnetIds: ['subnet-private'], SecurityGroupIds: [Match.anyValue()] },
    });
    template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      SecurityGroupIngress: Match.absent(),
      SecurityGroupEgress: [Match.objectLike({ CidrIp: '0.0.0.0/0', IpProtocol: '-1' })],
    });
    const managed = (name: string) => ({ 'Fn::Join': ['', Match.arrayWith([`:iam::aws:policy/service-role/${name}`])] });
    template.hasResourceProperties('AWS::IAM::Role', {
      ManagedPolicyArns: [managed('AWSLambdaBasicExecutionRole'), managed('AWSLambdaVPCAccessExecutionRole')],
    });
  });

  test('runs in the subnets and the security groups that it is given', () => {
    const group = ec2.SecurityGroup.fromSecurityGroupId(stack, 'Group', 'sg-1');

    makeProxy({ vpc, vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED }, securityGroups: [group] });

    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::EC2::SecurityGroup', 0);
    template.hasResourceProperties('AWS::Lambda::Function', {
      VpcConfig: { SubnetIds: ['subnet-isolated'], SecurityGroupIds: ['sg-1'] },
    });
  });
});

describe('with provisioned concurrency', () => {
  test('the Function URL is that of an alias, and callers may invoke the alias alone', () => {
    const proxy = makeProxy({ provisionedConcurrentExecutions: 2 });
    const caller = new iam.Role(stack, 'Caller', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') });
    proxy.grantInvokeUrl(caller);

    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::Lambda::Alias', {
      Name: 'live',
      FunctionName: stack.resolve(proxy.lambda.functionName),
      FunctionVersion: stack.resolve(proxy.lambda.currentVersion.version),
      ProvisionedConcurrencyConfig: { ProvisionedConcurrentExecutions: 2 },
    });
    template.resourceCountIs('AWS::Lambda::Url', 1);
    template.hasResourceProperties('AWS::Lambda::Url', { Qualifier: 'live', TargetFunctionArn: stack.resolve(proxy.lambda.functionArn) });
    expect(statements(stack, 'Caller')).toEqual(urlStatements(stack.resolve(proxy.alias!.functionArn)));
  });

  test('the exports that callers in another stack import are the same with and without it, if there is an alias from the start', () => {
    const exports = (options: TailscaleLambdaProxyPropsLambdaOption) => {
      const app = new App();
      stack = new Stack(app, 'Network');
      const caller = new iam.Role(new Stack(app, 'Application'), 'Caller', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') });
      const proxy = makeProxy(options);
      proxy.grantInvokeUrl(caller);
      new CfnOutput(Stack.of(caller), 'Url', { value: proxy.lambdaFunctionUrl.url });
      return Object.keys(Template.fromStack(stack).toJSON().Outputs);
    };

    const before = exports({ alias: true });
    expect(before).toHaveLength(2);
    expect(exports({ alias: true, provisionedConcurrentExecutions: 2 })).toEqual(before);
    expect(exports({})).not.toEqual(before);
  });

  test('warns unless the alias is there to stay', () => {
    makeProxy({ provisionedConcurrentExecutions: 2 });
    expect(warnings(stack)).toEqual([expect.stringMatching(/Set options.lambda.alias to true, which changes nothing now .*:provisionedConcurrencyWithoutAlias/)]);
    const before = Template.fromStack(stack).toJSON();

    stack = new Stack(new App(), 'Network');
    makeProxy({ provisionedConcurrentExecutions: 2, alias: true });
    expect(warnings(stack)).toEqual([]);
    expect(Template.fromStack(stack).toJSON()).toEqual(before);
  });

  test('is refused without the alias', () => {
    makeProxy({ provisionedConcurrentExecutions: 2, alias: false });

    expect(problems(stack)).toEqual([
      '[Network/Proxy] options.lambda.alias is false: options.lambda.provisionedConcurrentExecutions needs the alias: leave it out, or set it to true',
    ]);
  });

  test('without it there is neither an alias nor a version', () => {
    expect(makeProxy({}).alias).toBeUndefined();

    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::Lambda::Alias', 0);
    template.resourceCountIs('AWS::Lambda::Version', 0);
  });

  /** The logical id of the version that an app with this layer makes: another id is another version. */
  function versionWith(layer: string, recognizeLayerVersion: boolean): string {
    const assets = fs.mkdtempSync(path.join(os.tmpdir(), 'assets-'));
    fs.cpSync(FIXTURE_ASSETS, assets, { recursive: true });
    fs.appendFileSync(path.join(assets, 'x86_64', 'extension.zip'), layer);
    useFixtureZips(assets);
    const context = { '@aws-cdk/aws-lambda:recognizeLayerVersion': recognizeLayerVersion };
    stack = new Stack(new App({ context }), 'Network');
    makeProxy({ provisionedConcurrentExecutions: 2 });
    return Object.keys(Template.fromStack(stack).findResources('AWS::Lambda::Version'))[0];
  }

  test.each([false, true])('a changed layer makes a new version, an unchanged one does not (recognizeLayerVersion: %s)', (flag) => {
    const version = versionWith('one', flag);

    expect(version).toMatch(/CurrentVersion/);
    expect(versionWith('one', flag)).toBe(version);
    expect(versionWith('two', flag)).not.toBe(version);
  });
});
