import { App, Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { useFixtureZips } from './fixture-zips';
import { problems } from './problems';
import { TailscaleLambdaProxy, TailscaleMetricsOptions, TailscaleMetricsOutput } from '../src';

let stack: Stack;

beforeEach(() => {
  useFixtureZips();
  stack = new Stack(new App(), 'Network');
});

function makeProxy(metrics?: TailscaleMetricsOptions): TailscaleLambdaProxy {
  const tsSecretApiKey = secretsmanager.Secret.fromSecretNameV2(stack, 'key', 'key');
  return new TailscaleLambdaProxy(stack, 'proxy', { tsSecretApiKey, tsHostname: 'lambda-test', metrics });
}

function actions(): string[] {
  const policies = Object.values(Template.fromStack(stack).findResources('AWS::IAM::Policy'));
  const statements = policies.flatMap((policy) => policy.Properties.PolicyDocument.Statement);
  return statements.flatMap((statement) => statement.Action);
}

test.each([undefined, TailscaleMetricsOutput.CLOUDWATCH])('the function may put metric data: %s', (output) => {
  makeProxy({ output });

  expect(actions()).toContain('cloudwatch:PutMetricData');
});

test.each([TailscaleMetricsOutput.EMBEDDED, TailscaleMetricsOutput.OFF])('the function may not put metric data: %s', (output) => {
  makeProxy({ output });

  expect(actions()).not.toContain('cloudwatch:PutMetricData');
  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', {
    Environment: { Variables: Match.objectLike({ TS_METRICS: output }) },
  });
});

test('the options reach the function, an interval of 0 as well', () => {
  makeProxy({ details: true, interval: Duration.millis(0), budget: Duration.millis(20) });

  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', {
    Environment: {
      Variables: Match.objectLike({ TS_METRICS_DETAILS: 'true', TS_METRICS_INTERVAL: '0', TS_METRICS_BUDGET: '20' }),
    },
  });
});

test.each<[TailscaleMetricsOptions, string]>([
  [{ interval: Duration.minutes(16) }, 'metrics.interval is 16 minutes'],
  [{ budget: Duration.millis(0) }, 'metrics.budget is 0'],
])('what the function would refuse is refused: %j', (metrics, words) => {
  makeProxy(metrics);

  expect(problems(stack)).toEqual([expect.stringContaining(words)]);
});

test('the metrics are those that requests ask for, with their dimensions', () => {
  const proxy = makeProxy();

  expect(proxy.metricSuccess('shop').toMetricConfig().metricStat).toMatchObject({
    namespace: 'tailscale-service', metricName: 'success', statistic: 'Sum', dimensions: [{ name: 'service', value: 'shop' }],
  });
  const failure = proxy.metricFailure('shop', { dimensionsMap: { endpoint: 'orders' }, period: Duration.minutes(1) });
  expect(failure.toMetricConfig().metricStat).toMatchObject({
    metricName: 'failure',
    period: Duration.minutes(1),
    dimensions: [{ name: 'endpoint', value: 'orders' }, { name: 'service', value: 'shop' }],
  });
});

test('a failure raises an alarm', () => {
  makeProxy().metricFailure('shop').createAlarm(stack, 'unreachable', { threshold: 1, evaluationPeriods: 1 });

  Template.fromStack(stack).hasResourceProperties('AWS::CloudWatch::Alarm', {
    Namespace: 'tailscale-service',
    MetricName: 'failure',
    Statistic: 'Sum',
    Dimensions: [{ Name: 'service', Value: 'shop' }],
  });
});

test('a dashboard gets a row of graphs', () => {
  const dashboard = new cloudwatch.Dashboard(stack, 'dashboard');
  makeProxy().addToDashboard(dashboard);

  const [resource] = Object.values(Template.fromStack(stack).findResources('AWS::CloudWatch::Dashboard'));
  const body = JSON.stringify(resource.Properties.DashboardBody);
  for (const word of ['tailscale-service', 'success', 'failure', 'Duration', 'Invocations', 'Errors', 'Throttles']) {
    expect(body).toContain(word);
  }
});
