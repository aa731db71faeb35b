import { App, Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { makeProxy as proxyOf, problems, statements, variablesOf } from './constructs';
import { TailscaleLambdaProxy, TailscaleLambdaProxyPropsOptions, TailscaleMetricsOptions, TailscaleMetricsOutput } from '../src';

let stack: Stack;

beforeEach(() => {
  stack = new Stack(new App(), 'Network');
});

const makeProxy = (metrics?: TailscaleMetricsOptions, options?: TailscaleLambdaProxyPropsOptions) => proxyOf(stack, { metrics, options });

const actions = () => statements(stack).flatMap((statement) => (statement as { Action: string }).Action);

test.each([undefined, TailscaleMetricsOutput.CLOUDWATCH])('the function may put metric data: %s', (output) => {
  makeProxy({ output });

  expect(actions()).toContain('cloudwatch:PutMetricData');
});

test.each([TailscaleMetricsOutput.EMBEDDED, TailscaleMetricsOutput.OFF])('the function may not put metric data: %s', (output) => {
  const proxy = makeProxy({ output });

  expect(actions()).not.toContain('cloudwatch:PutMetricData');
  expect(variablesOf(proxy.lambda)).toMatchObject({ TS_METRICS: output });
});

test('the options reach the function, an interval of 0 as well', () => {
  const proxy = makeProxy({ details: true, interval: Duration.millis(0), budget: Duration.millis(20) });

  expect(variablesOf(proxy.lambda)).toMatchObject({ TS_METRICS_DETAILS: 'true', TS_METRICS_INTERVAL: '0', TS_METRICS_BUDGET: '20' });
});

test.each<[TailscaleMetricsOptions, string]>([
  [{ interval: Duration.minutes(16) }, 'metrics.interval is 16 minutes'],
  [{ budget: Duration.millis(0) }, 'metrics.budget is 0'],
  [{ proxyName: 'the office' }, 'metrics.proxyName is "the office"'],
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

test.each<[string, string, object, (proxy: TailscaleLambdaProxy) => cloudwatch.Metric]>([
  ['requests', 'requests', {}, (proxy) => proxy.metricProxyRequests()],
  ['errors of a name', 'errors', { error: 'TargetTimeout' }, (proxy) => proxy.metricProxyErrors('TargetTimeout')],
  ['minutes in the tailnet', 'tailnet-minutes', {}, (proxy) => proxy.metricTailnetMinutes()],
  ['a proxy that is not in the tailnet', 'errors', { error: 'TailnetUnavailable' }, (proxy) => proxy.metricTailnetUnavailable()],
])('what nobody asks for is counted by the proxy\'s name, without a resource of its own: %s', (_, metricName, dimensions, metric) => {
  const proxy = makeProxy();

  expect(metric(proxy)).toMatchObject({
    namespace: 'tailscale-lambda-proxy', metricName, statistic: 'Sum', dimensions: { proxy: proxy.lambda.functionName, ...dimensions },
  });
  Template.fromStack(stack).resourceCountIs('AWS::Logs::MetricFilter', 0);
});

test('minutes in the tailnet are summed by the day, unless told otherwise', () => {
  const proxy = makeProxy();

  expect(proxy.metricTailnetMinutes().period).toEqual(Duration.days(1));
  expect(proxy.metricTailnetMinutes({ period: Duration.hours(1) }).period).toEqual(Duration.hours(1));
});

test('a proxy can have another name than its function\'s in what is counted', () => {
  const proxy = makeProxy({ proxyName: 'office/proxy' });

  expect(proxy.metricProxyRequests({ period: Duration.minutes(1) })).toMatchObject({ dimensions: { proxy: 'office/proxy' }, period: Duration.minutes(1) });
  expect(variablesOf(proxy.lambda)).toMatchObject({ TS_METRICS_PROXY_NAME: 'office/proxy' });
});

test.each<[string, (proxy: TailscaleLambdaProxy) => unknown]>([
  ['metricProxyRequests', (proxy) => proxy.metricProxyRequests()],
  ['metricProxyErrors', (proxy) => proxy.metricProxyErrors('TargetTimeout')],
  ['metricTailnetUnavailable', (proxy) => proxy.metricTailnetUnavailable()],
  ['metricTailnetMinutes', (proxy) => proxy.metricTailnetMinutes()],
  ['metricTailnetUnavailable', (proxy) => proxy.createAlarms()],
])('an alarm that could never be raised is refused where nothing is counted: %s', (method, use) => {
  const proxy = makeProxy({ proxyCounts: false });

  expect(() => use(proxy)).toThrow(`Network/Proxy: ${method} is not available: nothing is counted for it: leave out metrics.proxyCounts, or set it to true`);
});

describe('createAlarms', () => {
  test('watches this proxy and its warmer, and does what it is told', () => {
    const proxy = makeProxy({}, { warmer: {} });
    const alarms = proxy.createAlarms({ actions: [{ bind: () => ({ alarmActionArn: 'arn:aws:sns:eu-west-1:111122223333:alarms' }) }], threshold: 3 });

    const template = Template.fromStack(stack);
    const found = Object.values(template.findResources('AWS::CloudWatch::Alarm')).map(({ Properties }) => Properties);
    expect(alarms).toHaveLength(4);
    expect(found.map(({ MetricName }) => MetricName).sort()).toEqual(['Errors', 'Errors', 'Throttles', 'errors']);
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
      AlarmDescription: Match.stringLikeRegexp('Network/Proxy'),
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

    for (const word of ['Proxy: requests', 'UrlRequestCount', 'Url5xxCount', 'Duration', 'Invocations', 'Errors', 'Throttles', 'tailscale-service', 'success', 'failure', 'tailscale-lambda-proxy,proxy,error']) {
      expect(body()).toContain(word);
    }
  });

  test('can give them another title', () => {
    new cloudwatch.Dashboard(stack, 'dashboard').addWidgets(...makeProxy().dashboardWidgets('Office'));

    expect(body()).toContain('Office: requests');
  });
});
