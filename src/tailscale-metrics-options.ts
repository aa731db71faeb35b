import { Duration } from 'aws-cdk-lib';

/**
 * How the metrics leave that requests ask for with `ts-metric-service`.
 */
export enum TailscaleMetricsOutput {
  /**
   * By calls of CloudWatch's PutMetricData, after answers: the function gets the permission for it.
   */
  CLOUDWATCH = 'cloudwatch',

  /**
   * As lines of the function's log in the embedded metric format, of which CloudWatch makes the same metrics: no calls
   * and no permission, but the price of log lines.
   */
  EMBEDDED = 'embedded',

  /**
   * Not at all: the headers are accepted, and nothing is counted.
   */
  OFF = 'off',
}

/**
 * What is measured, and when it is sent.
 */
export interface TailscaleMetricsOptions {
  /**
   * How metrics leave.
   *
   * @default TailscaleMetricsOutput.CLOUDWATCH
   */
  readonly output?: TailscaleMetricsOutput;

  /**
   * Whether to measure more than `success` and `failure`: `first-byte` (milliseconds from the request to the head of
   * the target's answer), `retries`, `new-connection`, `kept-connection` and, once for each environment, `tailnet-ready`
   * (milliseconds that its login took), with the same dimensions.
   *
   * @default false
   */
  readonly details?: boolean;

  /**
   * How much time there is at least between two calls of CloudWatch by one environment: what is counted meanwhile goes
   * with a later one, at the latest when the environment ends. 0 for a call after each request. At most 15 minutes.
   *
   * @default Duration.seconds(10)
   */
  readonly interval?: Duration;

  /**
   * How long a call may keep an environment from its next request. A slower one goes on beside it. From 1 ms to 15 minutes.
   *
   * @default Duration.millis(100)
   */
  readonly budget?: Duration;
}
