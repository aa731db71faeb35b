// What CloudWatch shows of a proxy: the metrics that requests ask for, and the graphs for a dashboard.
import { Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as lambda from 'aws-cdk-lib/aws-lambda';

/**
 * The namespace of the metrics that requests ask for.
 * @internal
 */
export const METRIC_NAMESPACE = 'tailscale-service';

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
 * A row of graphs: what requests came to, how long the function took, and how many could not be served.
 * @internal
 */
export function graphs(fn: lambda.Function): cloudwatch.IWidget[] {
  return [
    new cloudwatch.GraphWidget({
      title: 'Answers of targets, by service',
      width: WIDTH,
      left: [search('success')],
      right: [search('failure')],
      leftYAxis: { label: 'success', min: 0, showUnits: false },
      rightYAxis: { label: 'failure', min: 0, showUnits: false },
    }),
    new cloudwatch.GraphWidget({
      title: 'Duration',
      width: WIDTH,
      left: ['p50', 'p90', 'p99'].map((statistic) => fn.metricDuration({ statistic, label: statistic })),
      leftYAxis: { min: 0 },
    }),
    new cloudwatch.GraphWidget({
      title: 'Function',
      width: WIDTH,
      left: [fn.metricInvocations()],
      right: [fn.metricErrors(), fn.metricThrottles()],
      leftYAxis: { min: 0 },
      rightYAxis: { min: 0 },
    }),
  ];
}

/** Every service and every dimension that callers name: which there are, only the metrics themselves know. */
function search(metricName: string): cloudwatch.MathExpression {
  return new cloudwatch.MathExpression({
    expression: `SEARCH('Namespace="${METRIC_NAMESPACE}" MetricName="${metricName}"', 'Sum', ${PERIOD.toSeconds()})`,
    label: '',
    period: PERIOD,
  });
}
