// What a canary sends, and what its alarm watches.
import { App, CfnParameter, Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as actions from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as sns from 'aws-cdk-lib/aws-sns';
import { makeProxy as proxyOf, problems } from './constructs';
import { TailscaleCanaryOptions, TailscaleLambdaProxyProps, TailscaleMetricsOutput } from '../src';
import contract from './fixtures/canary.json';

let stack: Stack;

beforeEach(() => {
  stack = new Stack(new App(), 'Network', { env: { account: '111122223333', region: 'eu-west-1' } });
});

const makeProxy = (more: Partial<TailscaleLambdaProxyProps> = {}) => proxyOf(stack, { metrics: { proxyName: 'billing-proxy' }, ...more });

const add = (options: Partial<TailscaleCanaryOptions> = {}, proxy = makeProxy()) => proxy.addCanary('billing', { target: 'billing:8080', ...options });

/** The event that the only rule sends. */
function event(): any {
  const [rule] = Object.values(Template.fromStack(stack).findResources('AWS::Events::Rule'));
  return JSON.parse(rule.Properties.Targets[0].Input);
}

test('it asks its target every five minutes, and has the request counted', () => {
  const proxy = makeProxy();
  add({}, proxy);
  // What the end-to-end test sends to the shipped program.
  expect(event()).toEqual(contract.event);
  Template.fromStack(stack).hasResourceProperties('AWS::Events::Rule', {
    ScheduleExpression: 'rate(5 minutes)',
    Targets: [Match.objectLike({ Arn: stack.resolve(proxy.functionArn), RetryPolicy: { MaximumRetryAttempts: 0 } })],
  });
});

test('path, query and TLS are as they are asked for', () => {
  add({ target: '[fd7a:115c:a1e0::7]:443', path: '/health?deep=1&x=?', https: true });
  expect(event()).toMatchObject({
    rawPath: '/health',
    rawQueryString: 'deep=1&x=?',
    headers: { 'ts-target-ip': '[fd7a:115c:a1e0::7]', 'ts-target-port': '443', 'ts-https': 'true' },
  });
});

test('the alarm is raised by responses that are missing, and by counts that are', () => {
  const topic = new sns.Topic(stack, 'Topic');
  const canary = add({ interval: Duration.minutes(10), failures: 3, actions: [new actions.SnsAction(topic)] });
  Template.fromStack(stack).hasResourceProperties('AWS::CloudWatch::Alarm', {
    ...contract.alarm,
    Period: 600,
    EvaluationPeriods: 3,
    TreatMissingData: 'breaching',
    AlarmActions: [stack.resolve(topic.topicArn)],
  });
  expect(canary.metricFailure()).toMatchObject({ metricName: 'failure', dimensions: { 'service': 'canary-billing', 'canary-of': 'billing-proxy' } });
});

test('it invokes the alias where there is one, and may invoke nothing else', () => {
  const proxy = makeProxy({ options: { lambda: { alias: true } } });
  const { rule } = proxy.addCanary('billing', { target: 'billing:8080' });
  const permissions = Template.fromStack(stack).findResources('AWS::Lambda::Permission', { Properties: { Principal: 'events.amazonaws.com' } });
  expect(Object.values(permissions).map(({ Properties }) => Properties)).toEqual([
    {
      Action: 'lambda:InvokeFunction',
      FunctionName: stack.resolve(proxy.functionArn),
      Principal: 'events.amazonaws.com',
      SourceArn: stack.resolve(rule.ruleArn),
    },
  ]);
});

test('two canaries have metrics of their own', () => {
  const proxy = makeProxy();
  const [one, other] = ['billing', 'stock'].map((id) => proxy.addCanary(id, { target: `${id}:8080` }));
  expect(one.metricSuccess().dimensions).not.toEqual(other.metricSuccess().dimensions);
  expect(() => proxy.addCanary('stock', { target: 'stock:8080' })).toThrow(/already a Construct with name 'stock'/);
});

test.each<[Partial<TailscaleCanaryOptions>, string]>([
  [{ target: 'billing' }, 'target is "billing": use host:port'],
  [{ target: 'billing:0' }, 'target is "billing:0": use host:port'],
  [{ target: 'fd7a::1:80' }, 'target is "fd7a::1:80": use host:port'],
  [{ target: 'http://billing:80' }, 'target is "http://billing:80": use host:port'],
  [{ path: 'health' }, 'path is "health": begin it with a slash'],
  [{ path: '/a b' }, 'path is "/a b": begin it with a slash'],
  [{ interval: Duration.seconds(90) }, 'interval is 1 minute 30 seconds: use whole minutes from 1 to 60'],
  [{ interval: Duration.hours(2) }, 'interval is 2 hours: use whole minutes from 1 to 60'],
  [{ failures: 1 }, 'failures is 1: use a whole number of requests from 2 to 24'],
])('%j is refused', (options, words) => {
  add(options);
  expect(problems(stack)).toEqual([expect.stringContaining(`[Network/Proxy/billing] ${words}`)]);
});

test('what only the deployment knows cannot be taken apart', () => {
  const parameter = new CfnParameter(stack, 'Target');
  add({ target: parameter.valueAsString });
  expect(problems(stack)).toEqual([expect.stringContaining('target is known to the deployment alone: give "host:port" as text')]);
});

test('nothing is counted without metrics', () => {
  const proxy = makeProxy({ metrics: { output: TailscaleMetricsOutput.OFF } });
  expect(() => proxy.addCanary('billing', { target: 'billing:8080' })).toThrow(/addCanary is not available: nothing is counted for it/);
});
