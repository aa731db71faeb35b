// The recommended alarms of a proxy.
import { Duration } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { Construct } from 'constructs';
import { TailscaleAlarmsOptions } from './tailscale-alarms-options';

/**
 * What an alarm watches.
 * @internal
 */
export interface Watched {
  readonly id: string;
  readonly description: string;
  readonly metric: cloudwatch.Metric;
}

/**
 * Makes an alarm for each metric.
 * @internal
 */
export function makeAlarms(scope: Construct, watched: Watched[], { actions = [], threshold = 1 }: TailscaleAlarmsOptions): cloudwatch.Alarm[] {
  return watched.map(({ id, description, metric }) => {
    const alarm = metric.with({ statistic: cloudwatch.Stats.SUM, period: Duration.minutes(5) }).createAlarm(scope, id, {
      alarmDescription: description,
      threshold,
      evaluationPeriods: 1,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    });
    actions.forEach((action) => alarm.addAlarmAction(action));
    return alarm;
  });
}
