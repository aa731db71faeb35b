// What cdk-nag's AwsSolutions rules find in the constructs and that stays as it is, with the reasons. They are written
// where cdk-nag looks for them, each for one finding of one resource: whatever an app adds to these is found as ever.
import { CfnResource } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { IConstruct } from 'constructs';

/** A finding that stays. The names are cdk-nag's own, as its metadata has them. */
interface Argued {
  readonly id: string;
  readonly applies_to: string[];
  readonly reason: string;
}

const MANAGED_POLICIES: Argued = {
  id: 'AwsSolutions-IAM4',
  applies_to: ['AWSLambdaBasicExecutionRole', 'AWSLambdaVPCAccessExecutionRole']
    .map((name) => `Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/${name}`),
  reason: 'These let the function write its log and, in a VPC, use network interfaces, and no more. The log group\'s name ' +
    'comes from that of the function, which is generated after the role: a policy of its own could name it no better.',
};

const NO_RESOURCES: Argued = {
  id: 'AwsSolutions-IAM5',
  applies_to: ['Resource::*'],
  reason: 'cloudwatch:PutMetricData and the actions of AWS X-Ray know no resources. Metrics are limited to one namespace ' +
    'by a condition.',
};

/**
 * Says why the managed policies of the role that the CDK made for a function stay. A role that was handed in is the app's.
 * @internal
 */
export function argueManagedPolicies(fn: lambda.Function): void {
  argue(roleOf(fn), MANAGED_POLICIES);
}

/**
 * Says why a function that puts metrics may do so on all resources.
 * @internal
 */
export function argueMetrics(fn: lambda.Function): void {
  argue(roleOf(fn)?.node.tryFindChild('DefaultPolicy'), NO_RESOURCES);
}

function roleOf(fn: lambda.Function): IConstruct | undefined {
  return fn.node.tryFindChild('ServiceRole');
}

function argue(construct: IConstruct | undefined, argued: Argued): void {
  const resource = construct?.node.defaultChild;
  if (resource && CfnResource.isCfnResource(resource)) {
    resource.addMetadata('cdk_nag', { rules_to_suppress: [argued] });
  }
}
