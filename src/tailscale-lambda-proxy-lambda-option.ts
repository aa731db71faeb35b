import * as lambda from 'aws-cdk-lib/aws-lambda';

/**
 * Options of the proxy's function: those of every Lambda function, and a few of its own.
 *
 * These have other defaults than `lambda.FunctionOptions` says:
 *
 * - `architecture`: `Architecture.X86_64`; the layer is for the same. `Architecture.ARM_64` costs 20 % less.
 * - `description`: `Forwards HTTP requests into a tailnet`
 * - `logGroup`: a log group that keeps logs for three months, or as long as `logRetention` says
 * - `memorySize`: 256 MB
 * - `timeout`: 15 minutes
 *
 * A `role` is granted the permissions to read the secret and to put metrics, but must bring those to write logs and, with a
 * `vpc`, to use network interfaces: the managed policies `AWSLambdaBasicExecutionRole` and
 * `AWSLambdaVPCAccessExecutionRole`. A `vpc` needs a way out to Tailscale and to Secrets Manager, such as a NAT gateway.
 *
 * `snapStart`, `events`, `paramsAndSecrets` and `profiling` are refused: they do not work with the proxy.
 *
 * In Python, the options are named `lambda_`: `TailscaleLambdaProxyPropsOptions(lambda_=...)`.
 */
export interface TailscaleLambdaProxyPropsLambdaOption extends lambda.FunctionOptions {
  /**
   * `false` accepts any certificate of a target.
   *
   * @default true
   * @deprecated use `skipTlsVerification` of the proxy: `false` here is `true` there
   */
  readonly nodeTlsRejectUnauthorized?: boolean;

  /**
   * How many environments are always running, and already in the tailnet. At least 1, and no more than
   * `reservedConcurrentExecutions`. Needs the `alias`.
   *
   * @default - none: environments start with requests
   */
  readonly provisionedConcurrentExecutions?: number;

  /**
   * Whether the Function URL belongs to the alias `live` of the function, instead of to the function itself.
   *
   * Provisioned concurrency needs the alias. **With and without the alias the proxy has different URLs**, and CloudFormation
   * refuses a change between them while another stack imports the URL or the ARN. Set this to `true` from the start if
   * provisioned concurrency may be switched on or off later: the URL then stays the same.
   *
   * To change it for a proxy that another stack uses, deploy three times: the callers with the URL as plain text and without
   * the grant's reference; then this change; then the callers as before.
   *
   * @default - true with `provisionedConcurrentExecutions`, false otherwise
   * @see https://docs.aws.amazon.com/lambda/latest/dg/configuration-aliases.html
   */
  readonly alias?: boolean;
}
