import { Annotations, App, Lazy, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import { authKey, makeFunction, makeProxy, warnings } from './constructs';
import { TailscaleLambdaExtension, TailscaleLambdaProxyProps, TailscalePlan } from '../src';

let stack: Stack;

beforeEach(() => {
  stack = new Stack(new App(), 'Network');
});

/** What is warned of a proxy. */
function warned(props: Partial<TailscaleLambdaProxyProps> = {}): string[] {
  makeProxy(stack, props);
  return warnings(stack);
}

test('nothing is warned of by default', () => {
  expect(warned()).toEqual([]);
});

describe('a region', () => {
  test.each(['us-gov-west-1', 'cn-north-1', 'us-iso-east-1', 'us-isob-east-1', 'eusc-de-east-1', 'ap-south-2', 'eu-south-2', 'ca-west-1'])(
    'without Function URLs is warned of: %s', (region) => {
      stack = new Stack(new App(), 'Network', { env: { account: '111122223333', region } });

      expect(warned()).toEqual([expect.stringMatching(`Lambda had no Function URLs in ${region} .*tailscale-lambda-proxy:functionUrlRegion`)]);
    });

  test.each(['eu-west-1', 'us-east-1', 'ap-south-1'])('with Function URLs is not: %s', (region) => {
    stack = new Stack(new App(), 'Network', { env: { account: '111122223333', region } });

    expect(warned()).toEqual([]);
  });
});

test('a warning can be acknowledged', () => {
  Annotations.of(stack).acknowledgeWarning('tailscale-lambda-proxy:skipTlsVerification');

  expect(warned({ skipTlsVerification: true })).toEqual([]);
});

test.each<Partial<TailscaleLambdaProxyProps>>([
  { skipTlsVerification: true },
  { options: { lambda: { nodeTlsRejectUnauthorized: false } } },
])('unverified certificates are warned of: %j', (props) => {
  expect(warned(props)).toEqual([expect.stringContaining('tailscale-lambda-proxy:skipTlsVerification')]);
});

test.each([
  [3, undefined, 1],
  [2, undefined, 0],
  [5, 5, 1],
  [5, 6, 0],
])('a warmer is warned of that reaches provisioned environments only: %s provisioned, %s kept warm', (provisionedConcurrentExecutions, concurrentInvocations, count) => {
  const found = warned({ options: { lambda: { provisionedConcurrentExecutions, alias: true }, warmer: { concurrentInvocations } } });

  expect(found.filter((warning) => warning.includes('tailscale-lambda-proxy:warmerWithoutEffect'))).toHaveLength(count);
});

describe('a VPC', () => {
  const noWayOut = [expect.stringContaining('tailscale-lambda-proxy:noInternetAccess')];

  test('without a NAT gateway is warned of', () => {
    const vpc = new ec2.Vpc(stack, 'Vpc', { natGateways: 0 });

    expect(warned({ options: { lambda: { vpc } } })).toEqual(noWayOut);
  });

  test.each([ec2.SubnetType.PRIVATE_ISOLATED, ec2.SubnetType.PUBLIC])('is warned of where the subnets are %s', (subnetType) => {
    const vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', {
      vpcId: 'vpc-1', availabilityZones: ['eu-west-1a'], publicSubnetIds: ['subnet-0'], privateSubnetIds: ['subnet-1'], isolatedSubnetIds: ['subnet-2'],
    });

    expect(warned({ options: { lambda: { vpc, vpcSubnets: { subnetType }, allowPublicSubnet: true } } })).toEqual(noWayOut);
  });

  test('of the warmer is warned of in the same way, with what the warmer lacks', () => {
    const vpc = new ec2.Vpc(stack, 'Vpc', { natGateways: 0 });

    expect(warned({ options: { warmer: { vpc } } })).toEqual([
      expect.stringMatching(/options\.warmer\.vpc is isolated or public.*the warmer then reaches the proxy by a VPC endpoint of Lambda alone.*:noInternetAccess/),
    ]);
  });

  test('with one is not', () => {
    expect(warned({ options: { lambda: { vpc: new ec2.Vpc(stack, 'Vpc') } } })).toEqual([]);
  });

  test('that is still to be looked up is not', () => {
    stack = new Stack(new App(), 'Network', { env: { account: '111122223333', region: 'eu-west-1' } });

    expect(warned({ options: { lambda: { vpc: ec2.Vpc.fromLookup(stack, 'Vpc', { isDefault: true }) } } })).toEqual([]);
  });
});

describe('a plan', () => {
  test.each<[TailscalePlan, TailscaleLambdaProxyProps['options'], string]>([
    [TailscalePlan.PERSONAL, { warmer: {} }, '3 machines in the tailnet, for up to 129600 minutes per month; .* Personal includes 1000 '],
    [TailscalePlan.STANDARD, { lambda: { provisionedConcurrentExecutions: 2, alias: true } }, '2 machines .* 86400 .* Standard includes 1000 '],
    [TailscalePlan.PREMIUM, { warmer: { concurrentInvocations: 4 }, lambda: { provisionedConcurrentExecutions: 2, alias: true } },
      '4 machines .* 172800 .* Premium includes 10000 '],
  ])('that what is kept warm exceeds is warned of: %s, %j', (tailscalePlan, options, message) => {
    expect(warned({ tailscalePlan, options })).toEqual([expect.stringMatching(`${message}.*tailscale-lambda-proxy:tailscalePlan`)]);
  });

  test.each<Partial<TailscaleLambdaProxyProps>>([
    { tailscalePlan: TailscalePlan.PERSONAL },
    { options: { warmer: {} } },
    { tailscalePlan: TailscalePlan.PERSONAL, options: { warmer: { concurrentInvocations: Lazy.number({ produce: () => 2 }) } } },
  ])('is not compared with what is not known: %j', (props) => {
    expect(warned(props)).toEqual([]);
  });
});

describe('a role', () => {
  const arn = 'arn:aws:iam::111122223333:role/proxy';

  test('that cannot be changed is warned of', () => {
    const role = iam.Role.fromRoleArn(stack, 'Role', arn, { mutable: false });

    expect(warned({ options: { lambda: { role } } })).toEqual([expect.stringMatching('secretsmanager:GetSecretValue for the secret.*:immutableRole')]);
  });

  test('of a function with the extension alone is warned of as well', () => {
    const fn = makeFunction(stack, 'Reports', { role: iam.Role.fromRoleArn(stack, 'Role', arn, { mutable: false }) });
    new TailscaleLambdaExtension(stack, 'Tailscale').addToFunction(fn, { tsAuthKeySecret: authKey(stack), tsHostname: 'reports' });

    expect(warnings(stack)).toEqual([expect.stringMatching('^/Network/Reports .*:immutableRole')]);
  });

  test.each<[string, () => iam.IRole]>([
    ['imported', () => iam.Role.fromRoleArn(stack, 'Role', arn)],
    ['of the app', () => new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') })],
  ])('that can be is not: %s', (_, role) => {
    expect(warned({ options: { lambda: { role: role() } } })).toEqual([]);
  });
});
