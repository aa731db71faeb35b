// What cdk-nag's AwsSolutions rules find in the constructs and that stays as it is, with the reasons. An app that wants these
// suppressed says so; each suppression is for one finding of one resource, so that whatever an app adds is found as before.
import * as cdk from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { IConstruct } from 'constructs';

/** A finding that stays, as cdk-nag names it. */
interface Suppression {
  readonly id: string;
  readonly findings: string[];
  readonly reason: string;
}

const MANAGED_POLICIES: Suppression = {
  id: 'AwsSolutions-IAM4',
  findings: ['AWSLambdaBasicExecutionRole', 'AWSLambdaVPCAccessExecutionRole']
    .map((name) => `Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/${name}`),
  reason: 'These let the function write its log and, in a VPC, use network interfaces, and no more. The log group\'s name ' +
    'is generated after the role: a policy of its own could not name it more closely.',
};

const NO_RESOURCES: Suppression = {
  id: 'AwsSolutions-IAM5',
  findings: ['Resource::*'],
  reason: 'cloudwatch:PutMetricData, sts:GetWebIdentityToken and the actions of AWS X-Ray have no resources. Metrics are limited to ' +
    'one namespace and tokens to one audience, by conditions.',
};

/** As much as is used of the CDK's own suppressions, which cdk-nag reads from version 3 on. Older versions of the CDK have none. */
interface WithValidations {
  readonly Validations?: { of(construct: IConstruct): { acknowledge(...rules: { id: string; reason: string }[]): void } };
}

/**
 * Suppresses the findings of a function's role that the CDK made. A role that was passed in is the app's.
 * @internal
 */
export function suppressFindings(fn: lambda.Function): void {
  const role = fn.node.tryFindChild('ServiceRole');
  suppress(role, MANAGED_POLICIES);
  suppress(role?.node.tryFindChild('DefaultPolicy'), NO_RESOURCES);
}

function suppress(construct: IConstruct | undefined, { id, findings, reason }: Suppression): void {
  const resource = construct?.node.defaultChild;
  if (resource && cdk.CfnResource.isCfnResource(resource)) {
    resource.addMetadata('cdk_nag', { rules_to_suppress: [{ id, applies_to: findings, reason }] });
    const rules = findings.map((finding) => ({ id: `${id}[${finding}]`, reason }));
    (cdk as WithValidations).Validations?.of(resource).acknowledge(...rules);
  }
}
