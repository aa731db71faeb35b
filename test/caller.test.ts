import { App, Aws, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as ecr from 'aws-cdk-lib/aws-ecr';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { useFixtureZips } from './fixture-zips';
import { problems, warnings } from './problems';
import { AddCallerOptions, CallerVia, ITailscaleLambdaProxy, TailscaleLambdaProxy } from '../src';

const URL = 'https://abc.lambda-url.eu-west-1.on.aws/';
const ARN = 'arn:aws:lambda:eu-west-1:111122223333:function:proxy:live';
const NO_PROXY = 'localhost,127.0.0.1,::1,169.254.100.1,169.254.169.254,169.254.170.2';
const CLIENTS = { HTTP_PROXY: 'http://localhost:8055', http_proxy: 'http://localhost:8055', NO_PROXY, no_proxy: NO_PROXY, NODE_USE_ENV_PROXY: '1' };

let app: App;
let stack: Stack;

beforeEach(() => {
  useFixtureZips();
  app = new App();
  stack = new Stack(app, 'Network', { env: { account: '111122223333', region: 'eu-west-1' } });
});

function makeProxy(): TailscaleLambdaProxy {
  const tsAuthKeySecret = secretsmanager.Secret.fromSecretNameV2(stack, 'Secret', 'tailscale-api-key');
  return new TailscaleLambdaProxy(stack, 'Proxy', { tsAuthKeySecret, tsHostname: 'lambda-test', options: { lambda: { alias: true } } });
}

function imported(scope: Stack, functionArn = ARN): ITailscaleLambdaProxy {
  return TailscaleLambdaProxy.fromTailscaleLambdaProxyAttributes(scope, 'Imported', { url: URL, functionArn });
}

function makeCaller(scope: Stack, props: Partial<lambda.FunctionProps> = {}, id = 'Caller'): lambda.Function {
  return new lambda.Function(scope, id, {
    runtime: lambda.Runtime.PYTHON_3_13, handler: 'index.handler', code: lambda.Code.fromInline('def handler(event, context): pass'), ...props,
  });
}

/** The one statement that a caller by Lambda's API needs. */
const invoke = (resource: unknown) => ({ Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: resource });

/** Every statement of the callers' policies. */
function statements(of: Stack): unknown[] {
  return Object.entries(Template.fromStack(of).findResources('AWS::IAM::Policy'))
    .filter(([id]) => id.startsWith('Caller'))
    .flatMap(([, policy]) => policy.Properties.PolicyDocument.Statement);
}

/** The two statements that a caller of a Function URL needs. */
function both(resource: unknown): unknown[] {
  return [
    { Effect: 'Allow', Action: 'lambda:InvokeFunctionUrl', Resource: resource, Condition: { StringEquals: { 'lambda:FunctionUrlAuthType': 'AWS_IAM' } } },
    { Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: resource, Condition: { Bool: { 'lambda:InvokedViaFunctionUrl': true } } },
  ];
}

const variables = (of: Stack) => Object.values(Template.fromStack(of).findResources('AWS::Lambda::Function', { Properties: { Handler: 'index.handler' } }))
  .map(({ Properties }) => Properties.Environment.Variables);

test('without options, the function gets the URL, the two permissions, and nothing else', () => {
  const proxy = makeProxy();

  proxy.addCaller(makeCaller(stack));

  expect(variables(stack)).toEqual([{ TS_PROXY_URL: stack.resolve(proxy.url) }]);
  expect(statements(stack)).toEqual(both(stack.resolve(proxy.functionArn)));
  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', { Handler: 'index.handler', Layers: Match.absent() });
});

test.each([lambda.Architecture.X86_64, lambda.Architecture.ARM_64])('with the layer, HTTP clients find it by themselves: %s', (architecture) => {
  imported(stack).addCaller(makeCaller(stack, { architecture }), { layer: true });

  const template = Template.fromStack(stack);
  expect(variables(stack)).toEqual([{ TS_PROXY_URL: URL, ...CLIENTS }]);
  expect(statements(stack)).toEqual(both(ARN));
  template.hasResourceProperties('AWS::Lambda::LayerVersion', { CompatibleArchitectures: [architecture.name] });
  template.hasResourceProperties('AWS::Lambda::Function', { Layers: [{ Ref: Object.keys(template.findResources('AWS::Lambda::LayerVersion'))[0] }] });
});

test('the layer is told what goes into the tailnet, and may be left to clients that are told of it', () => {
  imported(stack).addCaller(makeCaller(stack), { layer: true, httpProxy: false, metricService: 'billing', targets: ['10.1.0.0/16', '*.corp:8080', '<local>'] });

  expect(variables(stack)).toEqual([{ TS_PROXY_URL: URL, TS_PROXY_TARGETS: '10.1.0.0/16,*.corp:8080,<local>', TS_METRIC_SERVICE: 'billing' }]);
});

test('callers of one stack and architecture share a layer', () => {
  const proxy = imported(stack);
  proxy.addCaller(makeCaller(stack), { layer: true });
  proxy.addCaller(makeCaller(stack, {}, 'Caller2'), { layer: true });

  Template.fromStack(stack).resourceCountIs('AWS::Lambda::LayerVersion', 1);
});

test('a caller of another stack has a layer of its own stack, and neither stack needs the other twice', () => {
  const callers = new Stack(app, 'Callers', { env: { account: '111122223333', region: 'eu-west-1' } });
  const proxy = makeProxy();

  proxy.addCaller(makeCaller(callers), { layer: true });

  expect(problems(app)).toEqual([]);
  Template.fromStack(callers).resourceCountIs('AWS::Lambda::LayerVersion', 1);
  expect(stack.dependencies).toEqual([]);
  expect(callers.dependencies).toEqual([stack]);
  const outputs: Record<string, { Value: unknown }> = Template.fromStack(stack).toJSON().Outputs;
  const exported = Object.values(outputs).map(({ Value }) => JSON.stringify(Value));
  expect(exported).toHaveLength(2);
  expect(exported.filter((value) => value.includes('Layer'))).toEqual([]);
  expect(statements(callers)).toEqual(both(expect.objectContaining({ 'Fn::ImportValue': expect.stringContaining('Proxy') })));
});

test('a caller of another region gets what its stack may know', () => {
  const callers = new Stack(app, 'Callers', { env: { account: '111122223333', region: 'eu-central-1' }, crossRegionReferences: true });
  stack = new Stack(app, 'Elsewhere', { env: { account: '111122223333', region: 'eu-west-1' }, crossRegionReferences: true });

  makeProxy().addCaller(makeCaller(callers), { layer: true });

  expect(problems(app)).toEqual([]);
  expect(statements(callers)).toHaveLength(2);
});

test('a proxy of another account: its app must grant the call as well, and the warning says so', () => {
  const callers = new Stack(app, 'Callers', { env: { account: '444455556666', region: 'eu-west-1' } });

  imported(callers).addCaller(makeCaller(callers));

  expect(statements(callers)).toEqual(both(ARN));
  expect(warnings(callers)).toEqual([expect.stringContaining('the proxy is in account 111122223333, and this function in 444455556666')]);
});

test('the grant that the warning asks for is one of the function\'s own policy', () => {
  const proxy = makeProxy();
  const arn = 'arn:aws:iam::444455556666:role/caller';

  proxy.grantInvokeUrl(new iam.ArnPrincipal(arn));

  const permissions = Object.values(Template.fromStack(stack).findResources('AWS::Lambda::Permission')).map(({ Properties }) => Properties);
  expect(permissions).toEqual([
    { Action: 'lambda:InvokeFunctionUrl', FunctionName: stack.resolve(proxy.functionArn), Principal: arn, FunctionUrlAuthType: 'AWS_IAM' },
    { Action: 'lambda:InvokeFunction', FunctionName: stack.resolve(proxy.functionArn), Principal: arn, InvokedViaFunctionUrl: true },
  ]);
});

test('an imported proxy serves stacks that are not bound to an account', () => {
  const unknown = new Stack(app, 'Unknown');

  imported(unknown).addCaller(makeCaller(unknown));

  expect(statements(unknown)).toEqual(both(ARN));
  expect(problems(app)).toEqual([]);
});

test('within one account, or where accounts are not known, nothing is said', () => {
  const unknown = new Stack(app, 'Unknown');
  imported(stack).addCaller(makeCaller(stack));
  imported(unknown, `arn:aws:lambda:${Aws.REGION}:${Aws.ACCOUNT_ID}:function:proxy`).addCaller(makeCaller(unknown));

  expect([...warnings(stack), ...warnings(unknown)]).toEqual([]);
});

test('by Lambda\'s API a caller gets the ARN, one permission, and needs no URL', () => {
  const tsAuthKeySecret = secretsmanager.Secret.fromSecretNameV2(stack, 'Secret', 'tailscale-api-key');
  const proxy = new TailscaleLambdaProxy(stack, 'Proxy', {
    tsAuthKeySecret, tsHostname: 'lambda-test', functionUrl: false, options: { lambda: { alias: true } },
  });
  proxy.addCaller(makeCaller(stack), { via: CallerVia.INVOKE, layer: true });

  const arn = stack.resolve(proxy.functionArn);
  expect(problems(app)).toEqual([]);
  expect(variables(stack)).toEqual([{ TS_PROXY_FUNCTION: arn, ...CLIENTS }]);
  expect(statements(stack)).toEqual([invoke(arn)]);
  Template.fromStack(stack).resourceCountIs('AWS::Lambda::Url', 0);
  Template.fromStack(stack).resourceCountIs('AWS::Lambda::Permission', 0);
});

test('by Lambda\'s API a profile\'s caller may invoke its alias alone', () => {
  const profile = makeProxy().addProfile('billing', { allowedTargets: ['billing:8080'], functionUrl: false });
  profile.addCaller(makeCaller(stack), { via: CallerVia.INVOKE });

  const arn = stack.resolve(profile.alias.functionArn);
  expect(variables(stack)).toEqual([{ TS_PROXY_FUNCTION: arn }]);
  expect(statements(stack)).toEqual([invoke(arn)]);
});

test('by Lambda\'s API an imported proxy needs no URL; by a URL it says what it lacks', () => {
  const proxy = TailscaleLambdaProxy.fromTailscaleLambdaProxyAttributes(stack, 'Imported', { functionArn: ARN });
  proxy.addCaller(makeCaller(stack), { via: CallerVia.INVOKE, environmentVariable: 'OFFICE_ARN' });

  expect(variables(stack)).toEqual([{ OFFICE_ARN: ARN }]);
  expect(statements(stack)).toEqual([invoke(ARN)]);
  expect(() => proxy.addCaller(makeCaller(stack, {}, 'Caller2'))).toThrow('Network/Imported: url is not set: set it to the proxy\'s Function URL');
});

test('by Lambda\'s API from another account, the warning names the permission that its proxy\'s app must add', () => {
  const callers = new Stack(app, 'Callers', { env: { account: '444455556666', region: 'eu-west-1' } });
  imported(callers).addCaller(makeCaller(callers), { via: CallerVia.INVOKE });

  expect(warnings(callers)).toEqual([expect.stringContaining('call addPermission(id, { principal: new iam.ArnPrincipal(...) }) of proxy.lambda')]);
});

test.each<[AddCallerOptions, string]>([
  [{ environmentVariable: 'office url' }, 'environmentVariable is "office url": use letters, digits and underscores'],
  [{ layer: true, environmentVariable: 'OFFICE_URL' }, 'environmentVariable is "OFFICE_URL": the layer reads TS_PROXY_URL'],
  [{ layer: true, via: CallerVia.INVOKE, environmentVariable: 'TS_PROXY_URL' }, 'environmentVariable is "TS_PROXY_URL": the layer reads TS_PROXY_FUNCTION'],
  [{ targets: ['db'] }, 'targets is set without the layer: set layer to true as well'],
  [{ httpProxy: true }, 'httpProxy is set without the layer'],
  [{ layer: true, targets: [] }, 'targets is an empty list'],
  [{ layer: true, targets: ['a b'] }, 'targets is "a b"'],
])('refuses %j', (options, message) => {
  imported(stack).addCaller(makeCaller(stack), options);

  expect(problems(stack)).toEqual([expect.stringContaining(message)]);
});

test('refuses a second proxy under the name of the first, which it would replace', () => {
  const caller = makeCaller(stack);
  const [proxy, other] = [makeProxy(), imported(stack)];
  proxy.addCaller(caller);
  proxy.addCaller(caller);
  other.addCaller(caller, { environmentVariable: 'OFFICE_URL' });
  other.addCaller(caller, { via: CallerVia.INVOKE });

  expect(problems(stack)).toEqual([]);
  other.addCaller(caller);
  expect(problems(stack)).toEqual([
    '[Network/Caller] environmentVariable is "TS_PROXY_URL", in which Network/Caller finds Network/Proxy already: set it to another name for this proxy',
  ]);
  expect(variables(stack)[0].OFFICE_URL).toBe(URL);
});

test('refuses a second layer, images and SnapStart', () => {
  const proxy = imported(stack);
  const [twice, snap] = [makeCaller(stack), makeCaller(stack, { snapStart: lambda.SnapStartConf.ON_PUBLISHED_VERSIONS }, 'Snap')];
  const image = makeCaller(stack, {
    runtime: lambda.Runtime.FROM_IMAGE,
    handler: lambda.Handler.FROM_IMAGE,
    code: lambda.Code.fromEcrImage(ecr.Repository.fromRepositoryName(stack, 'Repository', 'callers')),
  }, 'Image');
  proxy.addCaller(twice, { layer: true });
  proxy.addCaller(twice, { layer: true });
  proxy.addCaller(snap, { layer: true });
  proxy.addCaller(image, { layer: true });

  expect(problems(stack)).toEqual(expect.arrayContaining([
    expect.stringContaining('layer is true for Network/Caller, which has it already'),
    expect.stringContaining('snapStart is set: the layer would sign'),
    expect.stringContaining('layer is true for Network/Image, which is a container image'),
  ]));
});
