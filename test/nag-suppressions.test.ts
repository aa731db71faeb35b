import { App, Aspects, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { AwsSolutionsChecks } from 'cdk-nag';
import { makeProxy as proxyOf } from './constructs';
import { TailscaleLambdaExtension, TailscaleLambdaProxyProps } from '../src';

/** As much as is used of cdk-nag from version 3 on, where it is no aspect any more. */
interface Plugin {
  validateScope(scope: Stack): { violations: { ruleName: string; violatingResources: { constructPath: string }[] }[] };
}

let stack: Stack;

beforeEach(() => {
  stack = new Stack(new App(), 'Network');
});

const makeProxy = (props: Partial<TailscaleLambdaProxyProps> = {}) => proxyOf(stack, { suppressNagFindings: true, ...props });

/** What cdk-nag finds, as "path rule". */
function findings(): string[] {
  const pack = new AwsSolutionsChecks() as AwsSolutionsChecks | Plugin;
  if ('validateScope' in pack) {
    return pack.validateScope(stack).violations
      .flatMap(({ ruleName, violatingResources }) => violatingResources.map(({ constructPath }) => `/${constructPath} ${ruleName.split(':')[0]}`));
  }
  Aspects.of(stack).add(pack);
  const annotations = Annotations.fromStack(stack);
  const found = [...annotations.findError('*', Match.anyValue()), ...annotations.findWarning('*', Match.stringLikeRegexp('AwsSolutions'))];
  return found.map(({ id, entry }) => `${id} ${String(entry.data).split(':')[0]}`);
}

function vpc(): ec2.IVpc {
  return ec2.Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-1', availabilityZones: ['eu-west-1a'], privateSubnetIds: ['subnet-1'] });
}

test.each<[string, () => unknown]>([
  ['by default', () => makeProxy()],
  ['in a VPC', () => makeProxy({ options: { lambda: { vpc: vpc() } } })],
  ['with provisioned concurrency and tracing', () =>
    makeProxy({ options: { lambda: { provisionedConcurrentExecutions: 1, tracing: lambda.Tracing.ACTIVE } } })],
  ['with a secret that has a key of its own', () => {
    const encryptionKey = new kms.Key(stack, 'Key', { enableKeyRotation: true });
    const secretCompleteArn = 'arn:aws:secretsmanager:eu-west-1:111122223333:secret:tailscale-api-key-AbCdEf';
    return makeProxy({ tsAuthKeySecret: secretsmanager.Secret.fromSecretAttributes(stack, 'Imported', { secretCompleteArn, encryptionKey }) });
  }],
  ['with a warmer', () => makeProxy({ options: { warmer: {} } })],
  ['with a caller', () =>
    makeProxy().grantInvokeUrl(new iam.Role(stack, 'Caller', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') }))],
  ['as a layer alone', () => new TailscaleLambdaExtension(stack, 'Tailscale')],
])('cdk-nag finds nothing that is not suppressed: %s', (_, make) => {
  make();

  expect(findings()).toEqual([]);
});

test('what an app adds is found as ever', () => {
  const proxy = makeProxy();
  proxy.lambda.addToRolePolicy(new iam.PolicyStatement({ actions: ['s3:Get*'], resources: ['arn:aws:s3:::reports/*'] }));
  proxy.lambda.role?.addManagedPolicy(iam.ManagedPolicy.fromAwsManagedPolicyName('AmazonS3FullAccess'));

  expect(findings().sort()).toEqual([
    '/Network/Proxy/tailscale-proxy-lambda/ServiceRole/DefaultPolicy/Resource AwsSolutions-IAM5[Action',
    '/Network/Proxy/tailscale-proxy-lambda/ServiceRole/DefaultPolicy/Resource AwsSolutions-IAM5[Resource',
    '/Network/Proxy/tailscale-proxy-lambda/ServiceRole/Resource AwsSolutions-IAM4[Policy',
  ]);
});

test('a role that was handed in is the app\'s to argue for', () => {
  const role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') });
  makeProxy({ options: { lambda: { role } } });

  expect(findings()).toEqual(['/Network/Role/DefaultPolicy/Resource AwsSolutions-IAM5[Resource']);
});

test('nothing is suppressed unless the app says so', () => {
  makeProxy({ suppressNagFindings: undefined });

  expect(findings().sort()).toEqual([
    '/Network/Proxy/tailscale-proxy-lambda/ServiceRole/DefaultPolicy/Resource AwsSolutions-IAM5[Resource',
    '/Network/Proxy/tailscale-proxy-lambda/ServiceRole/Resource AwsSolutions-IAM4[Policy',
  ]);
  expect(JSON.stringify(Template.fromStack(stack).toJSON())).not.toContain('cdk_nag');
});

test('each suppression has a reason in the template', () => {
  makeProxy();

  const reasons = { cdk_nag: { rules_to_suppress: [{ id: Match.anyValue(), applies_to: Match.anyValue(), reason: Match.stringLikeRegexp('.{80}') }] } };
  const template = Template.fromStack(stack);
  template.hasResource('AWS::IAM::Role', { Metadata: reasons });
  template.hasResource('AWS::IAM::Policy', { Metadata: reasons });
});
