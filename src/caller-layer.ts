// The layer of functions that call a proxy: it signs what they send.
import { Stack } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { assetPath, Binary } from './binaries';

const ID = 'TailscaleLambdaCaller';

/**
 * The caller's layer of a stack for an architecture, shared by all callers of that stack: a layer's ARN changes with each release,
 * and CloudFormation refuses to change an exported ARN that is in use.
 * @internal
 */
export function callerLayerOf(stack: Stack, architecture: lambda.Architecture): lambda.LayerVersion {
  const id = `${ID}-${architecture.name}`;
  return stack.node.tryFindChild(id) as lambda.LayerVersion | undefined ?? new lambda.LayerVersion(stack, id, {
    description: 'Signs requests to a tailnet\'s proxy, on localhost:8055',
    code: lambda.Code.fromAsset(assetPath(Binary.CALLER, architecture)),
    compatibleArchitectures: [architecture],
  });
}
