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
 * What is measured, and when it is sent: of every request, and of those with `ts-metric-service`.
 */
export interface TailscaleMetricsOptions {
  /**
   * How the metrics of requests with `ts-metric-service` are sent.
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
   * Whether to count every request, every error by its `ts-error-name`, also where no caller asks, and the minutes in the
   * tailnet: `requests`, `errors` and `tailnet-minutes` in the namespace `tailscale-lambda-proxy`. Always written to the log in the embedded metric format, so that they get to
   * CloudWatch from a function without a network as well. Each costs what a custom metric costs. `metricTailnetUnavailable` and
   * `createAlarms` need them.
   *
   * @default true
   */
  readonly proxyCounts?: boolean;

  /**
   * The proxy's name in these counts, the dimension `proxy`. Set one to keep the metrics' history if the function is replaced.
   * 1 to 255 letters, digits and `-_./:`.
   *
   * @default - the function's name
   */
  readonly proxyName?: string;

  /**
   * The minimum time between two calls of CloudWatch by one environment. What is counted in between is sent with the next
   * call, at the latest when the environment ends. 0 sends after each request. At most 15 minutes. The counts of every request
   * are written to the log as often, and with each error at once.
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
