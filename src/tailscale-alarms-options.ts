import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';

/**
 * What the alarms of a proxy do, and when.
 */
export interface TailscaleAlarmsOptions {
  /**
   * What to do when an alarm is raised, such as a notification (`SnsAction` of `aws-cdk-lib/aws-cloudwatch-actions`).
   *
   * @default - nothing: the alarms show in the console
   */
  readonly actions?: cloudwatch.IAlarmAction[];

  /**
   * From how many events in 5 minutes an alarm is raised. At least 1.
   *
   * @default 1
   */
  readonly threshold?: number;
}
