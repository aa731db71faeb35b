import { Duration } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { TailscaleLambdaProxyPropsLambdaOption } from './tailscale-lambda-proxy-lambda-option';
import { TailscaleLambdaProxyPropsWarmerOption } from './tailscale-lambda-proxy-warmer-option';
import { TailscaleMetricsOptions } from './tailscale-metrics-options';
import { TailscaleNodeOptions } from './tailscale-node-options';

/**
 * Options of what the proxy is made of.
 */
export interface TailscaleLambdaProxyPropsOptions {
  /**
   * The layer's name, description, licence and removal policy.
   *
   * @default - as of `LayerVersion`
   */
  readonly extension?: lambda.LayerVersionOptions;

  /**
   * Options of the function.
   *
   * @default - see each of them
   */
  readonly lambda?: TailscaleLambdaProxyPropsLambdaOption;

  /**
   * Keeps environments of the function warm: a second function invokes it on a schedule.
   *
   * @default - no warmer
   */
  readonly warmer?: TailscaleLambdaProxyPropsWarmerOption;
}

/**
 * Properties of `TailscaleLambdaProxy`.
 */
export interface TailscaleLambdaProxyProps extends TailscaleNodeOptions {
  /**
   * How long opening a connection to a target may take, before the caller gets a 504. From 1 ms to 15 minutes.
   *
   * @default Duration.seconds(5)
   */
  readonly connectTimeout?: Duration;

  /**
   * How long a target may take to answer in full, before the caller gets a 504. From 1 ms to 15 minutes.
   *
   * @default - as long as the function may run
   */
  readonly responseTimeout?: Duration;

  /**
   * How answers leave: whole and up to 6 MB, base64 counted, or as they come and up to 200 MB.
   * Lambda streams nothing from a function in a VPC: there it must be `BUFFERED`.
   *
   * @default InvokeMode.BUFFERED
   */
  readonly invokeMode?: lambda.InvokeMode;

  /**
   * What browsers may ask of the Function URL from other origins. Lambda then answers preflight requests by itself, and
   * puts its own CORS headers in place of the target's.
   *
   * @default - no CORS: `OPTIONS` requests and CORS headers pass like any others
   */
  readonly cors?: lambda.FunctionUrlCorsOptions;

  /**
   * Certificate authorities to trust beside the public ones when a target is called with https: PEM text.
   * At most 3,000 characters: Lambda has room for 4 KB of environment variables in all.
   *
   * @default - the public ones only
   */
  readonly caCertificates?: string;

  /**
   * Whether to take any certificate of a target. What is sent to it can then be read by whoever sits in between.
   *
   * @default false
   */
  readonly skipTlsVerification?: boolean;

  /**
   * The targets that callers may name: addresses, networks (`10.1.0.0/16`), names, or `*.suffix` for all names below
   * one, each with `:port` or `:from-to` after it if need be, IPv6 in brackets before a port. A target is matched as
   * the caller wrote it. Narrows what the tailnet covers, and never widens it.
   *
   * @default - every target that the tailnet covers
   */
  readonly allowedTargets?: string[];

  /**
   * Whether a target may be one that no machine, route or exit node of the tailnet covers. A request to such a target
   * leaves by the function's own network, and so does one to a machine whose router is down.
   *
   * @default false
   */
  readonly allowUncoveredTargets?: boolean;

  /**
   * What is measured of the requests that ask for it, and when that is sent.
   *
   * @default - see each of them
   */
  readonly metrics?: TailscaleMetricsOptions;

  /**
   * Options of the layer, the function and the warmer.
   *
   * @default - see each of them
   */
  readonly options?: TailscaleLambdaProxyPropsOptions;
}
