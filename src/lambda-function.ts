// The functions of the constructs, the proxy's and its warmer's, and what they have in common.
import { Duration, FeatureFlags } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as cxapi from 'aws-cdk-lib/cx-api';
import { Construct } from 'constructs';

/**
 * The longest that Lambda lets a function run: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
 * @internal
 */
export const LONGEST_TIMEOUT = Duration.minutes(15);

/**
 * What a function is made of.
 * @internal
 */
export interface FunctionParts {
  /** The id of its log group, in the function's scope. */
  readonly logGroupId: string;
  /** What goes for options that are not set. */
  readonly defaults: lambda.FunctionOptions;
  /** The user's options. An empty text counts as unset. */
  readonly options: lambda.FunctionOptions;
  /** What no option changes. */
  readonly fixed: Pick<lambda.FunctionProps, 'architecture' | 'code' | 'environment'>;
}

/**
 * Makes a function whose logs are not kept for ever. In apps in which the CDK makes log groups, it makes this one as well, so
 * that it keeps its name. In others the name is generated: Lambda itself made `/aws/lambda/<function>` when the function ran.
 * @internal
 */
export function makeFunction(scope: Construct, id: string, { logGroupId, defaults, options, fixed }: FunctionParts): lambda.Function {
  const { logRetention, logRetentionRole, logRetentionRetryOptions, logRemovalPolicy, ...rest } = options;
  const chosen = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined && value !== ''));
  const retention = logRetention ?? logs.RetentionDays.THREE_MONTHS;
  const cdkMakesLogGroup = FeatureFlags.of(scope).isEnabled(cxapi.USE_CDK_MANAGED_LAMBDA_LOGGROUP);
  const logGroup = rest.logGroup || cdkMakesLogGroup ? rest.logGroup
    : new logs.LogGroup(scope, logGroupId, { retention, removalPolicy: logRemovalPolicy });
  const fn = new lambda.Function(scope, id, {
    ...defaults, ...chosen, ...fixed, logGroup, runtime: lambda.Runtime.PROVIDED_AL2023, handler: 'bootstrap',
  });
  const made = fn.node.tryFindChild('LogGroup')?.node.defaultChild;
  if (made instanceof logs.CfnLogGroup) {
    made.retentionInDays = retention === logs.RetentionDays.INFINITE ? undefined : retention;
    if (logRemovalPolicy) {
      made.applyRemovalPolicy(logRemovalPolicy);
    }
  }
  return fn;
}
