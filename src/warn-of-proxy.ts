// Warns at synth of what rarely works as intended.
import { Stack, Token } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { skipsTlsVerification } from './proxy-function';
import { WARM_BY_DEFAULT } from './proxy-warmer';
import { TailscaleLambdaProxyProps } from './tailscale-lambda-proxy-props';
import { TailscalePlan } from './tailscale-plan';
import { warn, Warning } from './warnings';

/**
 * Regions without Function URLs, by https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html and by CloudFormation's
 * resource types.
 */
const WITHOUT_FUNCTION_URLS = new Set([
  'ap-east-2', 'ap-south-2', 'ap-southeast-4', 'ap-southeast-5', 'ap-southeast-6', 'ap-southeast-7', 'ca-west-1', 'eu-central-2', 'eu-south-2',
  'il-central-1', 'me-central-1', 'mx-central-1',
]);
/** Nor have the partitions of China, GovCloud, the isolated regions and the European sovereign cloud. */
const OTHER_PARTITION = /^(cn|us-gov|us-iso[a-z]?|eu-isoe|eusc)-/;

/** Minutes of ephemeral machines per month, as quoted publicly in summer 2026. */
const INCLUDED_MINUTES: Record<TailscalePlan, number> = {
  [TailscalePlan.PERSONAL]: 1_000,
  [TailscalePlan.STANDARD]: 1_000,
  [TailscalePlan.PREMIUM]: 10_000,
};
const MINUTES_PER_MONTH = 30 * 24 * 60;

/**
 * Warns of props that rarely work as intended.
 * @internal
 */
export function warnOfProxy(proxy: Construct, props: TailscaleLambdaProxyProps): void {
  const options = props.options?.lambda ?? {};
  if (props.functionUrl !== false) {
    warnOfRegion(proxy);
  }
  warnOfSubnets(proxy, 'options.lambda', options, 'the proxy then reaches neither Tailscale nor, without a VPC endpoint, Secrets Manager');
  warnOfSubnets(proxy, 'options.warmer', props.options?.warmer, 'the warmer then reaches the proxy by a VPC endpoint of Lambda alone');
  if (options.provisionedConcurrentExecutions !== undefined && options.alias === undefined) {
    warn(proxy, Warning.ALIAS, 'without provisionedConcurrentExecutions the proxy has another URL, and CloudFormation refuses that change while ' +
      'another stack imports the URL. Set options.lambda.alias to true, which changes nothing now and keeps the URL for good.');
  }
  warnOfWarmer(proxy, props);
  warnOfPlan(proxy, props);
  if (skipsTlsVerification(props)) {
    warn(proxy, Warning.SKIP_TLS_VERIFICATION, 'skipTlsVerification is true: the proxy accepts any certificate, so that anyone on the path to a ' +
      'target can read the requests. Prefer caCertificates.');
  }
}

/**
 * Warns of functions that outlive their stack under a name that the next deployment asks for.
 * @internal
 */
export function warnOfRetainedNames(proxy: Construct, functions: lambda.Function[]): void {
  const names = functions.map((fn) => (fn.node.defaultChild as lambda.CfnFunction).functionName).filter((name) => name && !Token.isUnresolved(name));
  if (names.length > 0) {
    warn(proxy, Warning.RETAINED_NAME, `a retained function keeps its name (${names.join(', ')}): a deployment that creates it again fails, because the ` +
      'name is taken. Leave out functionName, or delete the retained function first.');
  }
}

/** Lambda uses provisioned environments first, so that as many warm-ups reach these only. */
function warnOfWarmer(proxy: Construct, { options }: TailscaleLambdaProxyProps): void {
  const provisioned = options?.lambda?.provisionedConcurrentExecutions;
  const invocations = options?.warmer?.concurrentInvocations ?? WARM_BY_DEFAULT;
  if (options?.warmer && provisioned !== undefined && ![provisioned, invocations].some(Token.isUnresolved) && invocations <= provisioned) {
    warn(proxy, Warning.WARMER_WITHOUT_EFFECT, `options.warmer.concurrentInvocations (${invocations}) is within ` +
      `options.lambda.provisionedConcurrentExecutions (${provisioned}): the warmer keeps environments warm that always run. Leave it out, or raise it.`);
  }
}

/** Warm-ups reach provisioned environments first: the machines are as many as the larger of both. */
function warnOfPlan(proxy: Construct, { options, tailscalePlan }: TailscaleLambdaProxyProps): void {
  const warmed = options?.warmer && (options.warmer.concurrentInvocations ?? WARM_BY_DEFAULT);
  const counts = [warmed, options?.lambda?.provisionedConcurrentExecutions].filter((count) => count !== undefined && !Token.isUnresolved(count));
  const machines = Math.max(0, ...counts as number[]);
  const minutes = machines * MINUTES_PER_MONTH;
  if (tailscalePlan !== undefined && minutes > INCLUDED_MINUTES[tailscalePlan]) {
    warn(proxy, Warning.TAILSCALE_PLAN, `the warmer or provisioned concurrency keep ${machines} machines in the tailnet, for up to ${minutes} minutes per ` +
      `month; Tailscale's plan ${tailscalePlan} includes ${INCLUDED_MINUTES[tailscalePlan]} minutes of ephemeral machines. A machine that stays for four ` +
      'hours counts as a tagged resource instead. Keep fewer warm, or none, or acknowledge this once the plan has room.');
  }
}

/**
 * Warns of a Function URL where Lambda had none.
 * @internal
 */
export function warnOfRegion(proxy: Construct): void {
  const { region } = Stack.of(proxy);
  if (!Token.isUnresolved(region) && (WITHOUT_FUNCTION_URLS.has(region) || OTHER_PARTITION.test(region))) {
    warn(proxy, Warning.FUNCTION_URL_REGION, `Lambda had no Function URLs in ${region} when this version was released: the deployment fails there. ` +
      'Set functionUrl to false and call grantInvoke for callers, or addCaller with CallerVia.INVOKE, use another region, or TailscaleLambdaExtension.');
  }
}

/** A function's network interfaces have no public addresses, not in public subnets either. */
function warnOfSubnets(proxy: Construct, prefix: string, { vpc, vpcSubnets }: lambda.FunctionOptions = {}, consequence: string): void {
  const selected = vpc?.selectSubnets(vpcSubnets);
  if (!vpc || !selected || selected.isPendingLookup) {
    return;
  }
  const without = new Set([...vpc.isolatedSubnets, ...vpc.publicSubnets]);
  if (selected.subnets.some((subnet) => without.has(subnet))) {
    warn(proxy, Warning.NO_INTERNET_ACCESS, `a selected subnet of ${prefix}.vpc is isolated or public, and gives a function no way to the ` +
      `internet: ${consequence}. Select private subnets with a NAT gateway.`);
  }
}
