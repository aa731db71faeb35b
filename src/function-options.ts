// A function's own options as the CDK is to have them: what the proxy and its warmer have in common.
import { Duration } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';

/**
 * The longest that Lambda lets a function run: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
 * @internal
 */
export const LONGEST_TIMEOUT = Duration.minutes(15);

/**
 * The options with those that are not set left out, an empty text included, and with a log group that does not keep logs for
 * ever. The log group's name is generated: that of `/aws/lambda/<function>` is taken for functions that ran before.
 * @internal
 */
export function functionOptions(scope: Construct, logGroupId: string, options: lambda.FunctionOptions): lambda.FunctionOptions {
  const { logRetention, logRetentionRole, logRetentionRetryOptions, logRemovalPolicy, ...rest } = options;
  const chosen = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined && value !== ''));
  const logGroup = rest.logGroup ?? new logs.LogGroup(scope, logGroupId, {
    retention: logRetention ?? logs.RetentionDays.THREE_MONTHS, removalPolicy: logRemovalPolicy,
  });
  return { ...chosen, logGroup };
}
