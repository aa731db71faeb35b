import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { App, Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { FIXTURE_ASSETS, useFixtureZips } from './fixture-zips';
import { TailscaleLambdaProxy, TailscaleLambdaProxyPropsLambdaOption } from '../src';

let stack: Stack;

beforeEach(() => {
  useFixtureZips();
  stack = new Stack(new App(), 'Network');
});

function makeProxy(options: TailscaleLambdaProxyPropsLambdaOption): TailscaleLambdaProxy {
  const tsSecretApiKey = secretsmanager.Secret.fromSecretNameV2(stack, 'Secret', 'tailscale-api-key');
  return new TailscaleLambdaProxy(stack, 'Proxy', { tsSecretApiKey, tsHostname: 'lambda-test', options: { lambda: options } });
}

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
  });
});

test('makes no log group by itself: Lambda does', () => {
  makeProxy({});

  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::Logs::LogGroup', 0);
  template.hasResourceProperties('AWS::Lambda::Function', { LoggingConfig: Match.absent(), TracingConfig: Match.absent() });
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
    const aliasArn = stack.resolve(proxy.alias!.functionArn);
    template.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [
          Match.objectLike({ Action: 'lambda:InvokeFunctionUrl', Resource: aliasArn }),
          Match.objectLike({ Action: 'lambda:InvokeFunction', Resource: aliasArn }),
        ],
      },
    });
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
