import { Duration } from 'aws-cdk-lib';

/**
 * How the metrics of requests with `ts-metric-service` are sent.
 */
export enum TailscaleMetricsOutput {
  /**
   * By calls of CloudWatch's PutMetricData, after responses. The function is granted the permission.
   */
  CLOUDWATCH = 'cloudwatch',

  /**
   * As lines of the function's log in the embedded metric format, from which CloudWatch makes the same metrics. Needs
   * neither calls nor a permission; the log lines have their price.
   * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format.html
   */
  EMBEDDED = 'embedded',

  /**
   * Not at all. The headers are accepted and ignored.
   */
  OFF = 'off',
}

/**
 * What is measured of requests, and when it is sent.
 */
export interface TailscaleMetricsOptions {
  /**
   * How metrics are sent.
   *
   * @default TailscaleMetricsOutput.CLOUDWATCH
   */
  readonly output?: TailscaleMetricsOutput;

  /**
   * Whether to measure more than `success` and `failure`: `first-byte` (milliseconds from the request to the head of
   * the target's response), `retries`, `new-connection`, `kept-connection` and, once for each environment, `tailnet-ready`
   * (milliseconds that its login took), with the same dimensions.
   *
   * @default false
   */
  readonly details?: boolean;

  /**
   * The minimum time between two calls of CloudWatch by one environment. What is counted in between is sent with the next
   * call, at the latest when the environment ends. 0 sends after each request. At most 15 minutes.
   *
   * @default Duration.seconds(10)
   */
  readonly interval?: Duration;

  /**
   * How long a call may delay the environment's next request. A slower call continues in the background. From 1 ms to
   * 15 minutes.
   *
   * @default Duration.millis(100)
   */
  readonly budget?: Duration;
}
