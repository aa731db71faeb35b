// A proxy's metrics in CloudWatch, and the graphs for a dashboard.
import { Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as lambda from 'aws-cdk-lib/aws-lambda';

/**
 * The namespace of the metrics that requests ask for.
 * @internal
 */
export const METRIC_NAMESPACE = 'tailscale-service';

/** The namespace of what is counted of every request, by proxy. */
const PROXY_NAMESPACE = 'tailscale-lambda-proxy';

const PERIOD = Duration.minutes(5);
/** A row of a dashboard has 24 columns. */
const WIDTH = 8;

/**
 * A metric that requests ask for, of one service.
 * @internal
 */
export function requestMetric(metricName: string, service: string, props?: cloudwatch.MetricOptions): cloudwatch.Metric {
  return new cloudwatch.Metric({
    statistic: cloudwatch.Stats.SUM,
    period: PERIOD,
    ...props,
    namespace: METRIC_NAMESPACE,
    metricName,
    dimensionsMap: { service, ...props?.dimensionsMap },
  });
}

/**
 * A metric of one proxy that nobody need ask for: `requests`, `errors` of one name, or `tailnet-minutes`.
 * @internal
 */
export function proxyMetric(metricName: string, dimensions: ProxyDimensions, props?: cloudwatch.MetricOptions): cloudwatch.Metric {
  return new cloudwatch.Metric({
    statistic: cloudwatch.Stats.SUM,
    period: PERIOD,
    ...props,
    namespace: PROXY_NAMESPACE,
    metricName,
    dimensionsMap: { ...dimensions },
  });
}

/**
 * What tells the counts of one proxy, and of one error, from others.
 * @internal
 */
export interface ProxyDimensions {
  readonly proxy: string;
  readonly error?: string;
}

/**
 * Rows of graphs: of one proxy, and last of all services, by whichever proxy their requests went.
 * @internal
 */
export function widgets(fn: lambda.Function, proxyName: string, title: string): cloudwatch.IWidget[] {
  const url = (name: string, statistic: string = cloudwatch.Stats.SUM) => fn.metric(`Url${name}`, { statistic, label: name });
  return [
    new cloudwatch.Row(
      graph(`${title}: requests`, [url('RequestCount')], [url('4xxCount'), url('5xxCount')]),
      graph(`${title}: duration`, ['p50', 'p90', 'p99'].map((statistic) => fn.metricDuration({ statistic, label: statistic }))),
      graph(`${title}: function`, [fn.metricInvocations()], [fn.metricErrors(), fn.metricThrottles()]),
    ),
    new cloudwatch.Row(
      new cloudwatch.GraphWidget({
        title: `${title}: errors of the proxy, by name`,
        width: 3 * WIDTH,
        left: [searched(`SEARCH('{${PROXY_NAMESPACE},proxy,error} MetricName="errors" proxy="${proxyName}"', 'Sum', ${PERIOD.toSeconds()})`)],
        leftYAxis: { min: 0, showUnits: false },
      }),
    ),
    new cloudwatch.Row(
      new cloudwatch.GraphWidget({
        title: 'Responses of targets, by service (all proxies)',
        width: 3 * WIDTH,
        left: [search('success')],
        right: [search('failure')],
        leftYAxis: { label: 'success', min: 0, showUnits: false },
        rightYAxis: { label: 'failure', min: 0, showUnits: false },
      }),
    ),
  ];
}

function graph(title: string, left: cloudwatch.IMetric[], right?: cloudwatch.IMetric[]): cloudwatch.GraphWidget {
  return new cloudwatch.GraphWidget({ title, width: WIDTH, left, right, leftYAxis: { min: 0 }, rightYAxis: right && { min: 0 } });
}

/** Every service and every dimension that callers name: which there are, only the metrics themselves know. */
function search(metricName: string): cloudwatch.MathExpression {
  return searched(`SEARCH('Namespace="${METRIC_NAMESPACE}" MetricName="${metricName}"', 'Sum', ${PERIOD.toSeconds()})`);
}

function searched(expression: string): cloudwatch.MathExpression {
  return new cloudwatch.MathExpression({ expression, label: '', period: PERIOD });
}
