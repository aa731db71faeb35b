import { Duration } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { TailscaleLambdaProxyPropsLambdaOption } from './tailscale-lambda-proxy-lambda-option';
import { TailscaleLambdaProxyPropsWarmerOption } from './tailscale-lambda-proxy-warmer-option';
import { TailscaleMetricsOptions } from './tailscale-metrics-options';
import { TailscaleNodeOptions } from './tailscale-node-options';
import { TailscalePlan } from './tailscale-plan';

/**
 * Options of what the proxy is made of.
 */
export interface TailscaleLambdaProxyPropsOptions {
  /**
   * The layer's name, description, license and removal policy. Proxies of one stack with the same options share a layer.
   *
   * @default - the defaults of `lambda.LayerVersionOptions`
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
   * How long a connection to a target may take to open, before the caller gets a 504. From 1 ms to 15 minutes.
   *
   * @default Duration.seconds(5)
   */
  readonly connectTimeout?: Duration;

  /**
   * How long a target may take to respond in full, before the caller gets a 504. From 1 ms to 15 minutes. Until then the
   * request occupies an environment, whether or not the caller still waits.
   *
   * @default - 1 minute; as long as the function may run, with `InvokeMode.RESPONSE_STREAM` or a `timeout` of less
   */
  readonly responseTimeout?: Duration;

  /**
   * How long a target may take from the request to the first byte of its response, before the caller gets a 504. Up to
   * 15 minutes; 0 for as long as the whole response may take.
   *
   * @default Duration.minutes(1)
   */
  readonly firstByteTimeout?: Duration;

  /**
   * How long a target may be silent in the middle of its response, before the response ends as an error. Up to 15 minutes;
   * 0 for as long as the whole response may take.
   *
   * @default Duration.minutes(1)
   */
  readonly idleTimeout?: Duration;

  /**
   * How responses are sent: as a whole and up to 6 MB, base64 included, or streamed and up to 200 MB.
   * Lambda does not stream from a function in a VPC: there it must be `BUFFERED`.
   *
   * @default InvokeMode.BUFFERED
   */
  readonly invokeMode?: lambda.InvokeMode;

  /**
   * Whether the function has a Function URL. Without it, callers invoke the function by Lambda's API: see `grantInvoke`. Needed where
   * Lambda has no Function URLs, such as in China and GovCloud.
   *
   * @default true
   */
  readonly functionUrl?: boolean;

  /**
   * What browsers may request from other origins. Lambda then answers preflight requests itself, and replaces the target's CORS
   * headers. Requests must be signed all the same, such as with credentials of a Cognito identity pool: allow the headers
   * `authorization`, `x-amz-date`, `x-amz-security-token` and the `ts-` headers, and expose `ts-error-name`.
   *
   * @default - no CORS: `OPTIONS` requests and CORS headers pass like any others
   */
  readonly cors?: lambda.FunctionUrlCorsOptions;

  /**
   * Certificate authorities to trust in addition to the public ones for targets with https: PEM text.
   * At most 3,000 characters: Lambda has room for 4 KB of environment variables in all. A larger bundle is a file:
   * `caCertificatesFile`.
   *
   * @default - the public ones only
   */
  readonly caCertificates?: string;

  /**
   * A file with certificate authorities to trust in addition to the public ones and to `caCertificates`: PEM text of at most
   * 1 MB, at this absolute path in the function. Bring it in a layer (`options.lambda.layers`), whose files are below `/opt`.
   * The function does not start where the file is missing, or holds anything that is not a certificate.
   *
   * @default - none
   */
  readonly caCertificatesFile?: string;

  /**
   * A secret with the certificate that the proxy shows to targets which ask their clients for one (mTLS): PEM text with the
   * certificate, those of its issuers after it, and its private key, which must not be encrypted. The function may read the
   * secret, and does so once for each environment, at its start: it does not start where the secret cannot be used.
   *
   * **All callers of the proxy act under this certificate.** It is shown to every target that asks, so narrow them down with
   * `allowedTargets`.
   *
   * @default - none: a target that insists on a certificate is a 502
   */
  readonly clientCertificateSecret?: secretsmanager.ISecret;

  /**
   * Whether to accept any certificate of a target. Anyone on the path to it can then read the requests.
   *
   * @default false
   */
  readonly skipTlsVerification?: boolean;

  /**
   * Whether targets are told who asked: the ARN of the caller as IAM knows it, in the request header `ts-caller-arn`. Callers
   * cannot set that header themselves. Of a role it is the session's ARN
   * (`arn:aws:sts::111122223333:assumed-role/role/session`): IAM vouches for the role; the session's name is chosen by whoever
   * assumes it.
   *
   * A principal that may invoke the function itself (`lambda:InvokeFunction` without the condition that the grants of
   * this construct have) can name any ARN.
   *
   * @default false
   */
  readonly forwardCallerArn?: boolean;

  /**
   * The targets that callers may name: addresses, networks (`10.1.0.0/16`), names, or `*.suffix` for all names below
   * one, each optionally followed by `:port` or `:from-to`, with IPv6 in brackets before a port. A target is matched as
   * the caller wrote it. Targets must be covered by the tailnet as well.
   *
   * @default - every target that the tailnet covers
   */
  readonly allowedTargets?: string[];

  /**
   * Whether a target may be one that no machine, route or exit node of the tailnet covers. A request to such a target
   * uses the function's own network, and so does a request to a machine whose router is down.
   *
   * @default false
   */
  readonly allowUncoveredTargets?: boolean;

  /**
   * What is measured of requests with `ts-metric-service`, and when it is sent.
   *
   * @default - see each of them
   */
  readonly metrics?: TailscaleMetricsOptions;

  /**
   * Whether to suppress what cdk-nag's AwsSolutions rules find in the proxy: `AwsSolutions-IAM4` for the managed policies of the
   * roles, and `AwsSolutions-IAM5` for actions that have no resources. The reasons are in the template's metadata and, if the
   * CDK has `Validations`, acknowledged there. Suppressions of these resources only; nothing that the app adds is affected.
   *
   * @default false
   * @see https://github.com/cdklabs/cdk-nag
   */
  readonly suppressNagFindings?: boolean;

  /**
   * The tailnet's plan. With it, synthesis warns if the warmer or provisioned concurrency keep machines in the tailnet for more
   * minutes per month than the plan includes for ephemeral machines. It changes nothing else.
   *
   * @default - nothing is compared
   */
  readonly tailscalePlan?: TailscalePlan;

  /**
   * Options of the layer, the function and the warmer.
   *
   * @default - see each of them
   */
  readonly options?: TailscaleLambdaProxyPropsOptions;
}
