import { App, Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { useFixtureZips } from './fixture-zips';
import { problems } from './problems';
import { TailscaleLambdaProxy, TailscaleLambdaProxyPropsOptions, TailscaleMetricsOptions, TailscaleMetricsOutput } from '../src';

let stack: Stack;

beforeEach(() => {
  useFixtureZips();
  stack = new Stack(new App(), 'Network');
});

function makeProxy(metrics?: TailscaleMetricsOptions, options?: TailscaleLambdaProxyPropsOptions): TailscaleLambdaProxy {
  const tsAuthKeySecret = secretsmanager.Secret.fromSecretNameV2(stack, 'key', 'key');
  return new TailscaleLambdaProxy(stack, 'proxy', { tsAuthKeySecret, tsHostname: 'lambda-test', metrics, options });
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

test.each<[string, (service: string, props?: cloudwatch.MetricOptions) => cloudwatch.Metric]>([
  ['failure', TailscaleLambdaProxy.metricAllFailure],
  ['success', TailscaleLambdaProxy.metricAllSuccess],
])('the metrics that requests ask for are of all proxies, and named so: %s', (metricName, metric) => {
  expect(metric('shop').toMetricConfig().metricStat).toMatchObject({
    namespace: 'tailscale-service', metricName, statistic: 'Sum', dimensions: [{ name: 'service', value: 'shop' }],
  });
  expect(metric('shop', { dimensionsMap: { endpoint: 'orders' }, period: Duration.minutes(1) }).toMetricConfig().metricStat).toMatchObject({
    period: Duration.minutes(1), dimensions: [{ name: 'endpoint', value: 'orders' }, { name: 'service', value: 'shop' }],
  });
  const proxy = makeProxy();
  expect(proxy.metricSuccess('shop')).toEqual(TailscaleLambdaProxy.metricAllSuccess('shop'));
  expect(proxy.metricFailure('shop')).toEqual(TailscaleLambdaProxy.metricAllFailure('shop'));
});

test.each<[string, (proxy: TailscaleLambdaProxy) => cloudwatch.Metric, string]>([
  ['UrlRequestCount', (proxy) => proxy.metricUrlRequests(), 'Sum'],
  ['Url4xxCount', (proxy) => proxy.metricUrl4xx(), 'Sum'],
  ['Url5xxCount', (proxy) => proxy.metricUrl5xx(), 'Sum'],
  ['UrlRequestLatency', (proxy) => proxy.metricUrlLatency(), 'Average'],
])('the metrics of a Function URL are of that proxy: %s', (metricName, metric, statistic) => {
  const proxy = makeProxy();

  expect(metric(proxy)).toMatchObject({ namespace: 'AWS/Lambda', metricName, statistic, dimensions: { FunctionName: proxy.lambda.functionName } });
});

test('what finds a proxy out of the tailnet is counted in its own log, once', () => {
  const proxy = makeProxy();
  const [metric] = [proxy.metricTailnetUnavailable(), proxy.metricTailnetUnavailable({ period: Duration.minutes(1) })];

  const namespace = { 'Fn::Join': ['', ['tailscale-lambda-proxy/', { Ref: Match.stringLikeRegexp('lambda') }]] };
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::Logs::MetricFilter', 1);
  template.hasResourceProperties('AWS::Logs::MetricFilter', {
    LogGroupName: stack.resolve(proxy.lambda.logGroup.logGroupName),
    FilterPattern: '"TailnetUnavailable"',
    MetricTransformations: [{ MetricName: 'TailnetUnavailable', MetricNamespace: namespace, MetricValue: '1' }],
  });
  expect(metric).toMatchObject({ metricName: 'TailnetUnavailable', statistic: 'Sum' });
  expect(stack.resolve(metric.namespace)['Fn::Join'][1][0]).toBe('tailscale-lambda-proxy/');
});

describe('createAlarms', () => {
  test('watches this proxy and its warmer, and does what it is told', () => {
    const proxy = makeProxy({}, { warmer: {} });
    const alarms = proxy.createAlarms({ actions: [{ bind: () => ({ alarmActionArn: 'arn:aws:sns:eu-west-1:111122223333:alarms' }) }], threshold: 3 });

    const template = Template.fromStack(stack);
    const found = Object.values(template.findResources('AWS::CloudWatch::Alarm')).map(({ Properties }) => Properties);
    expect(alarms).toHaveLength(4);
    expect(found.map(({ MetricName }) => MetricName).sort()).toEqual(['Errors', 'Errors', 'TailnetUnavailable', 'Throttles']);
    const names = found.flatMap(({ Dimensions = [] }) => Dimensions).map(({ Value }) => Value);
    expect(names).toEqual(expect.arrayContaining([stack.resolve(proxy.lambda.functionName), stack.resolve(proxy.warmer!.functionName)]));
    template.allResourcesProperties('AWS::CloudWatch::Alarm', {
      Threshold: 3,
      EvaluationPeriods: 1,
      Period: 300,
      Statistic: 'Sum',
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
      TreatMissingData: 'notBreaching',
      AlarmActions: ['arn:aws:sns:eu-west-1:111122223333:alarms'],
      AlarmDescription: Match.stringLikeRegexp('Network/proxy'),
    });
  });

  test('watches no warmer where there is none', () => {
    expect(makeProxy().createAlarms()).toHaveLength(3);
  });
});

describe('a dashboard', () => {
  const body = () => JSON.stringify(Object.values(Template.fromStack(stack).findResources('AWS::CloudWatch::Dashboard')).map(({ Properties }) => Properties));

  test('gets graphs of the proxy, and of all services', () => {
    makeProxy().addToDashboard(new cloudwatch.Dashboard(stack, 'dashboard'));

    for (const word of ['proxy: requests', 'UrlRequestCount', 'Url5xxCount', 'Duration', 'Invocations', 'Errors', 'Throttles', 'tailscale-service', 'success', 'failure']) {
      expect(body()).toContain(word);
    }
  });

  test('can give them another title', () => {
    new cloudwatch.Dashboard(stack, 'dashboard').addWidgets(...makeProxy().dashboardWidgets('Office'));

    expect(body()).toContain('Office: requests');
  });
});
