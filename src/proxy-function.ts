// The proxy's function as its props describe it, and the alias that provisioned concurrency needs.
import * as crypto from 'crypto';
import * as fs from 'fs';
import { Duration } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { assetPath, Binary } from './binaries';
import { proxyEnvironment } from './environment';
import { TailscaleLambdaProxyProps } from './tailscale-lambda-proxy-props';

/**
 * The longest that Lambda lets a function run: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
 * @internal
 */
export const LONGEST_TIMEOUT = Duration.minutes(15);

/**
 * The architecture of the function and its layer.
 * @internal
 */
export function architectureOf(props: TailscaleLambdaProxyProps): lambda.Architecture {
  return props.options?.lambda?.architecture ?? lambda.Architecture.X86_64;
}

/**
 * The variables that the function has for itself, beyond those of its layer.
 * @internal
 */
export function functionEnvironment(props: TailscaleLambdaProxyProps): Record<string, string> {
  const skipTlsVerification = props.skipTlsVerification ?? props.options?.lambda?.nodeTlsRejectUnauthorized === false;
  return { ...props.options?.lambda?.environment, ...proxyEnvironment({ ...props, skipTlsVerification }) };
}

/**
 * Makes the function, without what its layer needs.
 * @internal
 */
export function makeProxyFunction(scope: Construct, id: string, props: TailscaleLambdaProxyProps): lambda.Function {
  const { nodeTlsRejectUnauthorized, provisionedConcurrentExecutions, ...options } = props.options?.lambda ?? {};
  return new lambda.Function(scope, id, {
    description: 'Forwards HTTP requests into a tailnet',
    memorySize: 256,
    timeout: LONGEST_TIMEOUT,
    ...options,
    architecture: architectureOf(props),
    runtime: lambda.Runtime.PROVIDED_AL2023,
    handler: 'bootstrap',
    code: lambda.Code.fromAsset(assetPath(Binary.PROXY, architectureOf(props))),
    environment: functionEnvironment(props),
  });
}

/**
 * Makes the alias that keeps environments at hand, where the props ask for them.
 * @internal
 */
export function makeAlias(fn: lambda.Function, props: TailscaleLambdaProxyProps): lambda.Alias | undefined {
  const provisionedConcurrentExecutions = props.options?.lambda?.provisionedConcurrentExecutions;
  if (provisionedConcurrentExecutions === undefined) {
    return undefined;
  }
  // A version is a copy of the function. Without the feature flag `@aws-cdk/aws-lambda:recognizeLayerVersion` a changed
  // layer makes no new one, and the alias would stay with the old layer for ever.
  const layer = fs.readFileSync(assetPath(Binary.EXTENSION, architectureOf(props)));
  fn.invalidateVersionBasedOn(crypto.createHash('sha256').update(layer).digest('hex'));
  return fn.addAlias('live', { provisionedConcurrentExecutions });
}

