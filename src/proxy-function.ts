// The proxy's function as its props describe it, and the alias that provisioned concurrency needs.
import * as crypto from 'crypto';
import * as fs from 'fs';
import { Duration, Token } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { assetPath, Binary } from './binaries';
import { proxyEnvironment } from './environment';
import { LONGEST_TIMEOUT, makeFunction } from './lambda-function';
import { TailscaleLambdaProxyProps } from './tailscale-lambda-proxy-props';

/** A target that hangs is not to occupy an environment for as long as the function may run. */
const RESPONSE_TIMEOUT = Duration.minutes(1);

/**
 * The name of the proxy's own alias. Part of the contract with rust/proxy.
 * @internal
 */
export const LIVE = 'live';

/**
 * The architecture of the function and its layer.
 * @internal
 */
export function architectureOf(props: TailscaleLambdaProxyProps): lambda.Architecture {
  return props.options?.lambda?.architecture ?? lambda.Architecture.X86_64;
}

/**
 * Whether the certificates of targets are not verified, under either name.
 * @internal
 */
export function skipsTlsVerification(props: TailscaleLambdaProxyProps): boolean {
  return props.skipTlsVerification ?? props.options?.lambda?.nodeTlsRejectUnauthorized === false;
}

/**
 * Whether the Function URL is that of an alias.
 * @internal
 */
export function hasAlias(props: TailscaleLambdaProxyProps): boolean {
  return props.options?.lambda?.alias ?? props.options?.lambda?.provisionedConcurrentExecutions !== undefined;
}

/**
 * The variables that the function has for itself, beyond those of its layer.
 * @internal
 */
export function functionEnvironment(props: TailscaleLambdaProxyProps): Record<string, string> {
  const settings = { ...props, skipTlsVerification: skipsTlsVerification(props), responseTimeout: props.responseTimeout ?? responseTimeout(props) };
  return { ...props.options?.lambda?.environment, ...proxyEnvironment(settings) };
}

/** A streamed response may well take long, and the function's own time ends the others earlier if it is short. */
function responseTimeout(props: TailscaleLambdaProxyProps): Duration | undefined {
  const timeout = props.options?.lambda?.timeout ?? LONGEST_TIMEOUT;
  const isShort = !timeout.isUnresolved() && timeout.toMilliseconds() <= RESPONSE_TIMEOUT.toMilliseconds();
  return props.invokeMode === lambda.InvokeMode.RESPONSE_STREAM || isShort ? undefined : RESPONSE_TIMEOUT;
}

/**
 * Makes the function, without what its layer needs.
 * @internal
 */
export function makeProxyFunction(scope: Construct, id: string, props: TailscaleLambdaProxyProps): lambda.Function {
  const { nodeTlsRejectUnauthorized, provisionedConcurrentExecutions, alias, ...options } = props.options?.lambda ?? {};
  return makeFunction(scope, id, {
    logGroupId: 'tailscale-proxy-logs',
    defaults: { description: 'Forwards HTTP requests into a tailnet', memorySize: 256, timeout: LONGEST_TIMEOUT },
    options,
    fixed: {
      architecture: architectureOf(props),
      code: lambda.Code.fromAsset(assetPath(Binary.PROXY, architectureOf(props))),
      environment: functionEnvironment(props),
    },
  });
}

/**
 * Makes the alias that the Function URL belongs to, if the props ask for one.
 * @internal
 */
export function makeAlias(fn: lambda.Function, props: TailscaleLambdaProxyProps): lambda.Alias | undefined {
  if (!hasAlias(props)) {
    return undefined;
  }
  // A version is a copy of the function. Without the feature flag `@aws-cdk/aws-lambda:recognizeLayerVersion` a changed
  // layer makes no new one, and the alias would stay with the old layer for ever.
  const layer = fs.readFileSync(assetPath(Binary.EXTENSION, architectureOf(props)));
  fn.invalidateVersionBasedOn(crypto.createHash('sha256').update(layer).digest('hex'));
  const provisionedConcurrentExecutions = props.options?.lambda?.provisionedConcurrentExecutions;
  if (provisionedConcurrentExecutions === undefined || !Token.isUnresolved(provisionedConcurrentExecutions)) {
    return fn.addAlias(LIVE, { provisionedConcurrentExecutions });
  }
  // The CDK compares the number with 1, also where only the deployment knows it.
  const alias = fn.addAlias(LIVE);
  (alias.node.defaultChild as lambda.CfnAlias).provisionedConcurrencyConfig = { provisionedConcurrentExecutions };
  return alias;
}
