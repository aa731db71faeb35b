import { Duration } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';

/**
 * Options of the warmer: those of every Lambda function, and two of its own.
 *
 * These have other defaults than `lambda.FunctionOptions` says:
 *
 * - `architecture`: that of the proxy's function
 * - `description`: `Keeps environments of the tailnet's proxy warm`
 * - `logGroup`: a log group that keeps logs for three months, or as long as `logRetention` says
 * - `memorySize`: 256 MB
 * - `retryAttempts`: 0, because the next round follows soon
 * - `timeout`: 1 minute
 *
 * `snapStart`, `events`, `paramsAndSecrets` and `profiling` are refused: they do not work with the warmer.
 */
export interface TailscaleLambdaProxyPropsWarmerOption extends lambda.FunctionOptions {
  /**
   * How many environments to keep warm: as many concurrent requests meet no cold start. From 1 to 100, and below
   * `options.lambda.reservedConcurrentExecutions`: a warm-up keeps its environment busy for about half a second.
   *
   * @default 3
   */
  readonly concurrentInvocations?: number;

  /**
   * The time between two rounds of warm-ups: whole minutes, from 1 to 60. Lambda does not say for how long it keeps an
   * idle environment; usually some minutes.
   *
   * @default Duration.minutes(5)
   */
  readonly interval?: Duration;
}
