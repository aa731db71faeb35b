// Lets a caller invoke a proxy by Lambda's API, without its Function URL.
import * as iam from 'aws-cdk-lib/aws-iam';

/**
 * Grants the one action, on the one ARN: neither on other aliases nor on versions, as the CDK's own `grantInvoke` would.
 * @internal
 */
export function grantInvokeOf(functionArn: string, grantee: iam.IGrantable): iam.Grant {
  return iam.Grant.addToPrincipal({ grantee, actions: ['lambda:InvokeFunction'], resourceArns: [functionArn] });
}
