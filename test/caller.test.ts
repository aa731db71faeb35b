import { App, Aws, CfnOutput, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as ecr from 'aws-cdk-lib/aws-ecr';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as s3 from 'aws-cdk-lib/aws-s3';
import { makeFunction, makeProxy, problems, statements, urlStatements, warnings } from './constructs';
import { AddCallerOptions, CallerVia, ITailscaleLambdaProxy, TailscaleLambdaProxy } from '../src';

const URL = 'https://abc.lambda-url.eu-west-1.on.aws/';
const ARN = 'arn:aws:lambda:eu-west-1:111122223333:function:proxy:live';
const NO_PROXY = 'localhost,127.0.0.1,::1,169.254.100.1,169.254.169.254,169.254.170.2';
const CLIENTS = { HTTP_PROXY: 'http://localhost:8055', http_proxy: 'http://localhost:8055', NO_PROXY, no_proxy: NO_PROXY, NODE_USE_ENV_PROXY: '1' };

/** As proxies are that stay. */
const ALIAS = { options: { lambda: { alias: true } } };

let app: App;
let stack: Stack;

beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Network', { env: { account: '111122223333', region: 'eu-west-1' } });
});

function imported(scope: Stack, functionArn = ARN): ITailscaleLambdaProxy {
  return TailscaleLambdaProxy.fromTailscaleLambdaProxyAttributes(scope, 'Imported', { url: URL, functionArn });
}

const makeCaller = (scope: Stack, props: Partial<lambda.FunctionProps> = {}, id = 'Caller') => makeFunction(scope, id, props);

/** The one statement that a caller by Lambda's API needs. */
const invoke = (resource: unknown) => ({ Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: resource });

const variables = (of: Stack) => Object.values(Template.fromStack(of).findResources('AWS::Lambda::Function', { Properties: { Handler: 'index.handler' } }))
  .map(({ Properties }) => Properties.Environment.Variables);

test('without options, the function gets the URL, the two permissions, and nothing else', () => {
  const proxy = makeProxy(stack, ALIAS);

  proxy.addCaller(makeCaller(stack));

  expect(variables(stack)).toEqual([{ TS_PROXY_URL: stack.resolve(proxy.url) }]);
  expect(statements(stack, 'Caller')).toEqual(urlStatements(stack.resolve(proxy.functionArn)));
  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', { Handler: 'index.handler', Layers: Match.absent() });
});

test.each([lambda.Architecture.X86_64, lambda.Architecture.ARM_64])('with the layer, HTTP clients find it by themselves: %s', (architecture) => {
  imported(stack).addCaller(makeCaller(stack, { architecture }), { layer: true });

  const template = Template.fromStack(stack);
  expect(variables(stack)).toEqual([{ TS_PROXY_URL: URL, ...CLIENTS }]);
  expect(statements(stack, 'Caller')).toEqual(urlStatements(ARN));
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
  const proxy = makeProxy(stack, ALIAS);

  proxy.addCaller(makeCaller(callers), { layer: true });

  expect(problems(app)).toEqual([]);
  Template.fromStack(callers).resourceCountIs('AWS::Lambda::LayerVersion', 1);
  expect(stack.dependencies).toEqual([]);
  expect(callers.dependencies).toEqual([stack]);
  const outputs: Record<string, { Value: unknown }> = Template.fromStack(stack).toJSON().Outputs;
  const exported = Object.values(outputs).map(({ Value }) => JSON.stringify(Value));
  expect(exported).toHaveLength(2);
  expect(exported.filter((value) => value.includes('Layer'))).toEqual([]);
  expect(statements(callers, 'Caller')).toEqual(urlStatements(expect.objectContaining({ 'Fn::ImportValue': expect.stringContaining('Proxy') })));
});

test('a caller of another region gets what its stack may know', () => {
  const callers = new Stack(app, 'Callers', { env: { account: '111122223333', region: 'eu-central-1' }, crossRegionReferences: true });
  stack = new Stack(app, 'Elsewhere', { env: { account: '111122223333', region: 'eu-west-1' }, crossRegionReferences: true });

  makeProxy(stack, ALIAS).addCaller(makeCaller(callers), { layer: true });

  expect(problems(app)).toEqual([]);
  expect(statements(callers, 'Caller')).toHaveLength(2);
});

test('a proxy of another account: its app must grant the call as well, and the warning says so', () => {
  const callers = new Stack(app, 'Callers', { env: { account: '444455556666', region: 'eu-west-1' } });

  imported(callers).addCaller(makeCaller(callers));

  expect(statements(callers, 'Caller')).toEqual(urlStatements(ARN));
  expect(warnings(callers)).toEqual([expect.stringContaining('the proxy is in account 111122223333, and this function in 444455556666')]);
});

test('the grant that the warning asks for is one of the function\'s own policy', () => {
  const proxy = makeProxy(stack, ALIAS);
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

  expect(statements(unknown, 'Caller')).toEqual(urlStatements(ARN));
  expect(problems(app)).toEqual([]);
});

test('within one account, or where accounts are not known, nothing is said', () => {
  const unknown = new Stack(app, 'Unknown');
  imported(stack).addCaller(makeCaller(stack));
  imported(unknown, `arn:aws:lambda:${Aws.REGION}:${Aws.ACCOUNT_ID}:function:proxy`).addCaller(makeCaller(unknown));

  expect([...warnings(stack), ...warnings(unknown)]).toEqual([]);
});

test('by Lambda\'s API a caller gets the ARN, one permission, and needs no URL', () => {
  const proxy = makeProxy(stack, { ...ALIAS, functionUrl: false });
  proxy.addCaller(makeCaller(stack), { via: CallerVia.INVOKE, layer: true });

  const arn = stack.resolve(proxy.functionArn);
  expect(problems(app)).toEqual([]);
  expect(variables(stack)).toEqual([{ TS_PROXY_FUNCTION: arn, ...CLIENTS }]);
  expect(statements(stack, 'Caller')).toEqual([invoke(arn)]);
  Template.fromStack(stack).resourceCountIs('AWS::Lambda::Url', 0);
  Template.fromStack(stack).resourceCountIs('AWS::Lambda::Permission', 0);
});

test('by Lambda\'s API a profile\'s caller may invoke its alias alone', () => {
  const profile = makeProxy(stack, ALIAS).addProfile('billing', { allowedTargets: ['billing:8080'], functionUrl: false });
  profile.addCaller(makeCaller(stack), { via: CallerVia.INVOKE });

  const arn = stack.resolve(profile.alias.functionArn);
  expect(variables(stack)).toEqual([{ TS_PROXY_FUNCTION: arn }]);
  expect(statements(stack, 'Caller')).toEqual([invoke(arn)]);
});

test('by Lambda\'s API an imported proxy needs no URL; by a URL it says what it lacks', () => {
  const proxy = TailscaleLambdaProxy.fromTailscaleLambdaProxyAttributes(stack, 'Imported', { functionArn: ARN });
  proxy.addCaller(makeCaller(stack), { via: CallerVia.INVOKE, environmentVariable: 'OFFICE_ARN' });

  expect(variables(stack)).toEqual([{ OFFICE_ARN: ARN }]);
  expect(statements(stack, 'Caller')).toEqual([invoke(ARN)]);
  const lacking = 'Network/Imported: url is not set: set it to the proxy\'s Function URL; without one use grantInvoke, or addCaller with CallerVia.INVOKE';
  expect(() => proxy.addCaller(makeCaller(stack, {}, 'Caller2'))).toThrow(lacking);
  expect(() => proxy.grantInvokeUrl(makeCaller(stack, {}, 'Caller3'))).toThrow(lacking);
  expect(() => proxy.url).toThrow(lacking);
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
  [{ via: CallerVia.INVOKE, environmentVariable: 'TS_PROXY_URL' }, 'environmentVariable is "TS_PROXY_URL": callers look for a Function URL in it'],
  [{ environmentVariable: 'TS_PROXY_FUNCTION' }, 'environmentVariable is "TS_PROXY_FUNCTION": callers look for an ARN in it'],
  [{ targets: ['db'] }, 'targets is set without the layer: set layer to true as well'],
  [{ httpProxy: true }, 'httpProxy is set without the layer'],
  [{ layer: true, targets: [] }, 'targets is an empty list'],
  [{ layer: true, targets: ['a b'] }, 'targets is "a b"'],
])('refuses %j', (options, message) => {
  imported(stack).addCaller(makeCaller(stack), options);

  expect(problems(stack)).toEqual([expect.stringContaining(message)]);
});

test('one function calls several proxies, and one proxy by both ways, by variables of their own', () => {
  const caller = makeCaller(stack);
  const proxy = imported(stack);
  const other = TailscaleLambdaProxy.fromTailscaleLambdaProxyAttributes(stack, 'Other', { functionArn: `${ARN}2` });
  proxy.addCaller(caller, { via: CallerVia.INVOKE, layer: true });
  proxy.addCaller(caller, { environmentVariable: '' });
  other.addCaller(caller, { via: CallerVia.INVOKE, environmentVariable: 'OFFICE_ARN' });

  expect(problems(stack)).toEqual([]);
  expect(variables(stack)).toEqual([{ TS_PROXY_FUNCTION: ARN, TS_PROXY_URL: URL, OFFICE_ARN: `${ARN}2`, ...CLIENTS }]);
});

test.each<[string, AddCallerOptions, AddCallerOptions, string]>([
  ['another proxy', {}, {}, 'environmentVariable is "TS_PROXY_URL": Network/Caller finds Network/Imported in it already: choose another name'],
  ['another proxy of the layer', { layer: true }, {}, 'environmentVariable is "TS_PROXY_URL": Network/Caller finds'],
  ['another way of the layer', { layer: true }, { via: CallerVia.INVOKE }, 'via is FUNCTION_URL for the layer, and INVOKE without it'],
  ['the layer\'s way, as it was before', { via: CallerVia.INVOKE }, { layer: true }, 'via is FUNCTION_URL for the layer, and INVOKE without it'],
])('refuses a variable that would turn callers to %s', (_, first, second, message) => {
  const caller = makeCaller(stack);
  imported(stack).addCaller(caller, first);
  TailscaleLambdaProxy.fromTailscaleLambdaProxyAttributes(stack, 'Other', { url: URL, functionArn: `${ARN}2` }).addCaller(caller, second);

  expect(problems(stack)).toEqual([expect.stringContaining(message)]);
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

test('an imported proxy makes nothing by itself', () => {
  new CfnOutput(stack, 'Url', { value: imported(stack).url });

  expect(Template.fromStack(stack).toJSON().Resources).toBeUndefined();
});

test('what is granted to a proxy its function gets', () => {
  const grantee: iam.IGrantable = makeProxy(stack);
  s3.Bucket.fromBucketName(stack, 'Certificates', 'certificates').grantRead(grantee);

  expect(statements(stack, 'Proxy')).toContainEqual(expect.objectContaining({ Action: expect.arrayContaining(['s3:GetObject*']) }));
});
