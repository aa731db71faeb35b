// Values that only the deployment knows come out as CloudFormation expressions, or are refused with the prop's name.
import { App, CfnParameter, Duration, Fn, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { authKey, makeFunction, makeProxy as proxyOf, problems, variablesOf } from './constructs';
import { TailscaleLambdaExtension, TailscaleLambdaProxy, TailscaleLambdaProxyProps } from '../src';

let stack: Stack;

beforeEach(() => {
  stack = new Stack(new App(), 'Network');
});

const makeProxy = (props: Partial<TailscaleLambdaProxyProps>) => proxyOf(stack, props);

const text = () => new CfnParameter(stack, 'Text').valueAsString;
const number = () => new CfnParameter(stack, 'Number', { type: 'Number' }).valueAsNumber;
const list = () => new CfnParameter(stack, 'List', { type: 'CommaDelimitedList' }).valueAsList;

/** The properties of the function whose environment has a variable. */
function functionWith(variable: string): Record<string, unknown> {
  const functions = Object.values(Template.fromStack(stack).findResources('AWS::Lambda::Function'));
  return functions.map(({ Properties }) => Properties).find(({ Environment }) => variable in Environment.Variables);
}

test.each<[string, () => Partial<TailscaleLambdaProxyProps>, string, unknown]>([
  ['a list parameter', () => ({ allowedTargets: list() }), 'TS_ALLOWED_TARGETS', { 'Fn::Join': [',', { Ref: 'List' }] }],
  ['a split text', () => ({ allowedTargets: Fn.split(';', text()) }), 'TS_ALLOWED_TARGETS', { 'Fn::Join': [',', { 'Fn::Split': [';', { Ref: 'Text' }] }] }],
  ['a list among others', () => ({ allowedTargets: ['db', ...list()] }), 'TS_ALLOWED_TARGETS',
    { 'Fn::Join': ['', ['db,', { 'Fn::Join': [',', { Ref: 'List' }] }]] }],
  ['texts in a list', () => ({ allowedTargets: ['db', text()] }), 'TS_ALLOWED_TARGETS', { 'Fn::Join': ['', ['db,', { Ref: 'Text' }]] }],
  ['a text', () => ({ tsHostname: text() }), 'TS_HOSTNAME', { Ref: 'Text' }],
  ['a number', () => ({ tsExitNodePingTimeout: number() }), 'TS_EXIT_NODE_PING_TIMEOUT', { Ref: 'Number' }],
  ['a number of attempts', () => ({ tsExitNodePingAttempts: number() }), 'TS_EXIT_NODE_PING_RETRIES', { Ref: 'Number' }],
  ['a time-out', () => ({ connectTimeout: Duration.millis(number()) }), 'TS_CONNECT_TIMEOUT', { Ref: 'Number' }],
  ['a budget', () => ({ metrics: { budget: Duration.millis(number()) } }), 'TS_METRICS_BUDGET', { Ref: 'Number' }],
  ['a warmer\'s number', () => ({ options: { warmer: { concurrentInvocations: number() } } }), 'TS_WARMER_INVOCATIONS', { Ref: 'Number' }],
])('%s comes out as an expression', (_, props, variable, expected) => {
  const { lambda: own, warmer } = makeProxy(props());

  expect({ ...variablesOf(own), ...warmer && variablesOf(warmer) }[variable]).toEqual(expected);
});

describe('a list of a function of the app\'s', () => {
  test('comes out as an expression: what clients reach without the extension\'s proxy', () => {
    const fn = makeFunction(stack, 'Handler');
    new TailscaleLambdaExtension(stack, 'Tailscale').addToFunction(fn, {
      tsAuthKeySecret: authKey(stack), tsHostname: 'x', proxyEnvironment: true, noProxy: list(),
    });

    expect(problems(stack)).toEqual([]);
    expect(variablesOf(fn).no_proxy).toEqual({ 'Fn::Join': ['', [expect.stringMatching(/^localhost,.*,$/), { 'Fn::Join': [',', { Ref: 'List' }] }]] });
  });

  test('comes out as an expression: what a caller\'s layer sends into the tailnet', () => {
    const fn = makeFunction(stack, 'Handler');
    TailscaleLambdaProxy.fromTailscaleLambdaProxyAttributes(stack, 'Proxy', {
      url: 'https://abc.lambda-url.eu-west-1.on.aws/', functionArn: 'arn:aws:lambda:eu-west-1:111122223333:function:proxy',
    }).addCaller(fn, { layer: true, targets: list() });

    expect(variablesOf(fn).TS_PROXY_TARGETS).toEqual({ 'Fn::Join': [',', { Ref: 'List' }] });
  });
});

test('the function\'s own numbers and times come out as expressions', () => {
  makeProxy({ options: { lambda: { memorySize: number(), timeout: Duration.seconds(new CfnParameter(stack, 'Time', { type: 'Number' }).valueAsNumber) } } });

  expect(functionWith('TS_HOSTNAME')).toMatchObject({ MemorySize: { Ref: 'Number' }, Timeout: { Ref: 'Time' } });
});

test.each([undefined, true])('the number of provisioned environments comes out as an expression, with alias: %s', (alias) => {
  makeProxy({ options: { lambda: { alias, provisionedConcurrentExecutions: number() } } });

  expect(problems(stack)).toEqual([]);
  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Alias', {
    Name: 'live', ProvisionedConcurrencyConfig: { ProvisionedConcurrentExecutions: { Ref: 'Number' } },
  });
});

test('the warmer\'s interval and the age of a preflight request come out as expressions', () => {
  makeProxy({ cors: { allowedOrigins: list(), maxAge: Duration.seconds(number()) }, options: { warmer: { interval: Duration.minutes(number2()) } } });

  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::Lambda::Url', { Cors: { AllowOrigins: { Ref: 'List' }, MaxAge: { Ref: 'Number' } } });
  template.hasResourceProperties('AWS::Events::Rule', { ScheduleExpression: { 'Fn::Join': ['', ['rate(', { Ref: 'Number2' }, ' minutes)']] } });
});

const number2 = () => new CfnParameter(stack, 'Number2', { type: 'Number' }).valueAsNumber;

test.each<[string, (duration: Duration) => Partial<TailscaleLambdaProxyProps>, string]>([
  ['connectTimeout', (connectTimeout) => ({ connectTimeout }), 'millis'],
  ['responseTimeout', (responseTimeout) => ({ responseTimeout }), 'millis'],
  ['firstByteTimeout', (firstByteTimeout) => ({ firstByteTimeout }), 'millis'],
  ['idleTimeout', (idleTimeout) => ({ idleTimeout }), 'millis'],
  ['metrics.interval', (interval) => ({ metrics: { interval } }), 'millis'],
  ['metrics.budget', (budget) => ({ metrics: { budget } }), 'millis'],
  ['cors.maxAge', (maxAge) => ({ cors: { maxAge } }), 'seconds'],
  ['options.lambda.timeout', (timeout) => ({ options: { lambda: { timeout } } }), 'seconds'],
  ['options.lambda.maxEventAge', (maxEventAge) => ({ options: { lambda: { maxEventAge } } }), 'seconds'],
  ['options.warmer.timeout', (timeout) => ({ options: { warmer: { timeout } } }), 'seconds'],
  ['options.warmer.interval', (interval) => ({ options: { warmer: { interval } } }), 'minutes'],
])('%s in a unit that is not rendered is refused by its name', (prop, props, unit) => {
  makeProxy(props(Duration.hours(number())));

  expect(problems(stack)).toEqual([
    `[Network/Proxy] ${prop} is a number of hours that only the deployment knows: it cannot be converted at synth: ` +
    `use Duration.${unit}() with a number of ${unit}`,
  ]);
});

test('both the proxy and its warmer take the architecture that is named', () => {
  makeProxy({ options: { warmer: { architecture: lambda.Architecture.ARM_64 } } });

  expect(functionWith('TS_WARMER_FUNCTION')).toMatchObject({ Architectures: ['arm64'] });
  expect(functionWith('TS_HOSTNAME')).toMatchObject({ Architectures: ['x86_64'] });
});
