// The layers of a stack: each function takes one of its own stack. A layer's ARN changes with each release, and an ARN that
// another stack imports cannot change (https://github.com/aws/aws-cdk/issues/1972).
import * as crypto from 'crypto';
import { Stack } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { assetPath, Binary } from './binaries';

const ID = 'TailscaleLambdaExtension';

/**
 * The layer of a stack for an architecture, shared by everything in that stack that asks for the same options.
 * @internal
 */
export function layerOf(stack: Stack, architecture: lambda.Architecture, options: lambda.LayerVersionOptions = {}): lambda.LayerVersion {
  const chosen = Object.entries(options).filter(([, value]) => value !== undefined && value !== '').sort();
  const suffix = chosen.length === 0 ? [] : [crypto.createHash('sha256').update(JSON.stringify(stack.resolve(chosen))).digest('hex').slice(0, 8)];
  const id = [ID, architecture.name, ...suffix].join('-');
  return stack.node.tryFindChild(id) as lambda.LayerVersion | undefined ?? new lambda.LayerVersion(stack, id, {
    description: 'Joins a tailnet, and serves SOCKS5 on localhost:1055',
    ...Object.fromEntries(chosen),
    code: lambda.Code.fromAsset(assetPath(Binary.EXTENSION, architecture)),
    compatibleArchitectures: [architecture],
  });
}
