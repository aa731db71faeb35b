import { App, CfnParameter, Fn, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { makeFunction, makeProxy, problems, statements, urlStatements, warnings } from './constructs';
import { TailscaleLambdaProxyProps } from '../src';

const ENV = { account: '111122223333', region: 'eu-west-1' };
const TARGETS = { allowedTargets: ['billing.example.ts.net:8080'] };

let app: App;
let stack: Stack;

beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Network', { env: ENV });
});

/** The proxy's variable of profiles. */
function profilesVariable(of = stack): unknown {
  const functions = Object.values(Template.fromStack(of).findResources('AWS::Lambda::Function'));
  const variables = functions.map(({ Properties }) => Properties.Environment?.Variables).filter((all) => all && 'TS_HOSTNAME' in all);
  expect(variables).toHaveLength(1);
  return variables[0].TS_PROFILES;
}

function resourcesOf(type: string, of = stack): Record<string, Record<string, unknown>> {
  return Object.fromEntries(Object.entries(Template.fromStack(of).findResources(type)).map(([id, { Properties }]) => [id, Properties]));
}

/** The logical id of the alias with a name. */
function aliasId(name: string, of = stack): string {
  const ids = Object.entries(resourcesOf('AWS::Lambda::Alias', of)).filter(([, { Name }]) => Name === name).map(([id]) => id);
  expect(ids).toHaveLength(1);
  return ids[0];
}

test('without profiles there is no variable, and no alias', () => {
  makeProxy(stack);

  expect(profilesVariable()).toBeUndefined();
  Template.fromStack(stack).resourceCountIs('AWS::Lambda::Alias', 0);
});

test('a profile is an alias of the same $LATEST, with a signed Function URL and the proxy\'s settings for it', () => {
  const proxy = makeProxy(stack, { invokeMode: lambda.InvokeMode.RESPONSE_STREAM, cors: { allowedOrigins: ['https://example.com'] } });

  const profile = proxy.addProfile('billing', TARGETS);

  const fn = stack.resolve(proxy.lambda.functionName);
  expect(Object.values(resourcesOf('AWS::Lambda::Alias'))).toEqual([{ Name: 'billing', FunctionName: fn, FunctionVersion: '$LATEST' }]);
  const urls = Object.values(resourcesOf('AWS::Lambda::Url'));
  expect(urls).toHaveLength(2);
  const { Qualifier, ...own } = urls.find((url) => 'Qualifier' in url) ?? {};
  expect(Qualifier).toBe('billing');
  expect(own).toMatchObject({ AuthType: 'AWS_IAM', InvokeMode: 'RESPONSE_STREAM' });
  expect(own).toEqual(urls.find((url) => !('Qualifier' in url)));
  expect(profile.lambdaFunctionUrl.url).toBe(profile.url);
  expect(profile.url).not.toBe(proxy.url);
  Template.fromStack(stack).resourceCountIs('AWS::Lambda::Function', 1);
});

test.each<[string, NonNullable<TailscaleLambdaProxyProps['options']>['lambda']]>([
  ['the alias', { alias: true }],
  ['provisioned concurrency', { provisionedConcurrentExecutions: 2, alias: true }],
])('with %s, profiles lead to the version that live leads to', (_, options) => {
  const proxy = makeProxy(stack, { options: { lambda: options } });

  proxy.addProfile('billing', TARGETS);
  proxy.addProfile('reports', TARGETS);

  const versions = Object.fromEntries(Object.values(resourcesOf('AWS::Lambda::Alias')).map(({ Name, FunctionVersion }) => [Name, FunctionVersion]));
  expect(versions.live).toMatchObject({ 'Fn::GetAtt': [expect.any(String), 'Version'] });
  expect(versions).toEqual({ live: versions.live, billing: versions.live, reports: versions.live });
  Template.fromStack(stack).resourceCountIs('AWS::Lambda::Version', 1);
});

test('a profile that comes later makes another version', () => {
  const versionWith = (...names: string[]) => {
    const scope = new Stack(new App(), 'Network');
    const proxy = makeProxy(scope, { options: { lambda: { alias: true } } });
    names.forEach((name) => proxy.addProfile(name, TARGETS));
    return Object.keys(resourcesOf('AWS::Lambda::Version', scope));
  };

  expect(versionWith('billing')).toEqual(versionWith('billing'));
  expect(versionWith('billing')).not.toEqual(versionWith());
  expect(versionWith('billing', 'reports')).not.toEqual(versionWith('billing'));
});

test('the proxy is told of all profiles, in their order', () => {
  const proxy = makeProxy(stack);

  proxy.addProfile('reports', { allowedTargets: ['10.1.0.0/16:443', '[fd7a:115c:a1e0::2]:80-90', '*.example.ts.net'] });
  proxy.addProfile('billing_2-b', TARGETS);

  expect(profilesVariable()).toBe('reports=10.1.0.0/16:443,[fd7a:115c:a1e0::2]:80-90,*.example.ts.net;billing_2-b=billing.example.ts.net:8080');
  expect(problems(app)).toEqual([]);
});

test('targets that only the deployment knows come out as expressions', () => {
  const proxy = makeProxy(stack, { allowedTargets: ['db'] });
  const list = new CfnParameter(stack, 'List', { type: 'CommaDelimitedList' }).valueAsList;
  const text = new CfnParameter(stack, 'Text').valueAsString;

  proxy.addProfile('all', { allowedTargets: list });
  proxy.addProfile('some', { allowedTargets: ['db', ...list, text] });
  proxy.addProfile('split', { allowedTargets: Fn.split(';', text) });

  expect(profilesVariable()).toEqual({
    'Fn::Join': ['', [
      'all=', { 'Fn::Join': [',', { Ref: 'List' }] },
      ';some=db,', { 'Fn::Join': [',', { Ref: 'List' }] }, ',', { Ref: 'Text' },
      ';split=', { 'Fn::Join': [',', { 'Fn::Split': [';', { Ref: 'Text' }] }] },
    ]],
  });
  expect(problems(app)).toEqual([]);
  expect(warnings(stack)).toEqual([]);
});

describe.each([false, true])('with the alias live: %s', (alias) => {
  test('a caller gets the two permissions on its profile\'s alias, the profile\'s URL, and nothing else', () => {
    const proxy = makeProxy(stack, { options: { lambda: { alias } } });
    const [billing, reports] = [makeFunction(stack, 'Billing'), makeFunction(stack, 'Reports')];
    const profile = proxy.addProfile('billing', TARGETS);

    profile.addCaller(billing);
    proxy.addProfile('reports', TARGETS).addCaller(reports);

    expect(statements(stack, 'Billing')).toEqual(urlStatements({ Ref: aliasId('billing') }));
    expect(statements(stack, 'Reports')).toEqual(urlStatements({ Ref: aliasId('reports') }));
    const variables = Object.values(resourcesOf('AWS::Lambda::Function')).filter(({ Handler }) => Handler === 'index.handler')
      .map(({ Environment }) => Environment);
    expect(variables[0]).toEqual({ Variables: { TS_PROXY_URL: stack.resolve(profile.url) } });
    expect(variables[1]).not.toEqual(variables[0]);
    Template.fromStack(stack).resourceCountIs('AWS::Lambda::Permission', 0);
  });

  test('by Invoke, a caller gets the one permission on its profile\'s alias', () => {
    const role = new iam.Role(stack, 'Machine', { assumedBy: new iam.ServicePrincipal('states.amazonaws.com') });
    const profile = makeProxy(stack, { options: { lambda: { alias } } }).addProfile('billing', TARGETS);

    profile.grantInvoke(role);

    expect(statements(stack, 'Machine')).toEqual([{ Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: { Ref: aliasId('billing') } }]);
    expect(stack.resolve(profile.functionArn)).toEqual({ Ref: aliasId('billing') });
  });

  test('a principal of another account is granted the alias', () => {
    const profile = makeProxy(stack, { options: { lambda: { alias } } }).addProfile('billing', TARGETS);

    profile.grantInvokeUrl(new iam.ArnPrincipal('arn:aws:iam::444455556666:role/billing'));

    const permissions = Object.values(resourcesOf('AWS::Lambda::Permission'));
    expect(permissions.map(({ Action }) => Action).sort()).toEqual(['lambda:InvokeFunction', 'lambda:InvokeFunctionUrl']);
    expect(permissions.map(({ FunctionName }) => FunctionName)).toEqual([{ Ref: aliasId('billing') }, { Ref: aliasId('billing') }]);
  });

  test('a caller of another stack gets the same by an export of the alias', () => {
    const other = new Stack(app, 'Other', { env: ENV });
    const profile = makeProxy(stack, { options: { lambda: { alias } } }).addProfile('billing', TARGETS);

    profile.addCaller(makeFunction(other, 'Caller'), { layer: true });

    const exported = Object.values(Template.fromStack(stack).findOutputs('*', { Value: { Ref: aliasId('billing') } }));
    expect(exported).toHaveLength(1);
    expect(statements(other, 'Caller')).toEqual(urlStatements({ 'Fn::ImportValue': exported[0].Export.Name }));
    Template.fromStack(stack).resourceCountIs('AWS::IAM::Policy', 1);
  });
});

test('a caller of the proxy itself gets nothing on a profile\'s alias', () => {
  const proxy = makeProxy(stack);
  proxy.addProfile('billing', TARGETS);

  proxy.addCaller(makeFunction(stack, 'Caller'));

  expect(statements(stack, 'Caller')).toEqual(urlStatements(stack.resolve(proxy.lambda.functionArn)));
});

test('without a Function URL of the proxy, a profile still has one', () => {
  const proxy = makeProxy(stack, { functionUrl: false });

  const profile = proxy.addProfile('billing', TARGETS);

  expect(Object.values(resourcesOf('AWS::Lambda::Url'))).toMatchObject([{ Qualifier: 'billing', InvokeMode: 'BUFFERED' }]);
  expect(stack.resolve(profile.url)).toEqual({ 'Fn::GetAtt': [Object.keys(resourcesOf('AWS::Lambda::Url'))[0], 'FunctionUrl'] });
  expect(() => proxy.url).toThrow('functionUrl is false');
});

test('a profile without a Function URL can be invoked, and what needs the URL fails', () => {
  const profile = makeProxy(stack, { functionUrl: false }).addProfile('billing', { ...TARGETS, functionUrl: false });

  Template.fromStack(stack).resourceCountIs('AWS::Lambda::Url', 0);
  expect(profilesVariable()).toBe('billing=billing.example.ts.net:8080');
  expect(() => profile.url).toThrow(/Network\/Proxy\/profile-billing: functionUrl is false: without it callers have no URL/);
  expect(() => profile.grantInvokeUrl(new iam.AccountRootPrincipal())).toThrow('functionUrl is false');
});

test('the region is warned of once, where any URL is made', () => {
  const china = new Stack(app, 'China', { env: { account: '111122223333', region: 'cn-north-1' } });
  const proxy = makeProxy(china, { functionUrl: false });
  proxy.addProfile('invoked', { ...TARGETS, functionUrl: false });
  expect(warnings(china)).toEqual([]);

  proxy.addProfile('billing', TARGETS);

  expect(warnings(china)).toEqual([expect.stringContaining('/China/Proxy/profile-billing Lambda had no Function URLs in cn-north-1')]);
});

test.each([
  ['', '""'], ['a b', '"a b"'], ['billing/x', '"billing/x"'], ['7', '"7"'], ['2026', '"2026"'], ['x'.repeat(129), `"${'x'.repeat(129)}"`], ['a;b=*', '"a;b=*"'],
  ['$LATEST', '"$LATEST"'],
])('refuses the name %j', (name, shown) => {
  makeProxy(stack).addProfile(name, TARGETS);

  expect(problems(app)).toEqual([
    `[Network/Proxy] a profile's name is ${shown}: use 1 to 128 letters, digits, hyphens and underscores, and not digits alone`,
  ]);
});

test.each(['a', '7a', '_', '-', 'Live', 'x'.repeat(128)])('takes the name %j', (name) => {
  makeProxy(stack).addProfile(name, TARGETS);

  expect(problems(app)).toEqual([]);
  expect(profilesVariable()).toBe(`${name}=billing.example.ts.net:8080`);
});

test('refuses the name of the proxy\'s own alias, names that are not known, and names twice, all in one run', () => {
  const proxy = makeProxy(stack);
  const first = proxy.addProfile('billing', TARGETS);

  const caller = makeFunction(stack, 'Caller');
  proxy.addProfile('live', TARGETS).addCaller(caller);
  proxy.addProfile(new CfnParameter(stack, 'Name').valueAsString, TARGETS);

  expect(proxy.addProfile('billing', { allowedTargets: ['db'] })).toBe(first);
  expect(problems(app).sort()).toEqual([
    '[Network/Proxy] a profile\'s name is "billing" a second time: use another name, or what the first addProfile returned',
    '[Network/Proxy] a profile\'s name is "live": the proxy\'s own alias has it: use another',
    '[Network/Proxy] a profile\'s name is one that only the deployment knows: the proxy\'s setting and the alias are named by it: write it out',
  ]);
});

test('refuses an empty list, and entries that are no targets', () => {
  const proxy = makeProxy(stack);

  proxy.addProfile('none', { allowedTargets: [] });
  proxy.addProfile('spaced', { allowedTargets: ['db', 'a b'] });
  proxy.addProfile('joined', { allowedTargets: ['db;other=*.net'] });

  expect(problems(app)).toEqual([
    '[Network/Proxy] allowedTargets of profile "none" is an empty list: name at least one target; callers that may name all of the proxy\'s need no profile',
    '[Network/Proxy] allowedTargets of profile "spaced" is "a b": use an address, a network, a name or *.suffix, each with :port or :from-to after it if need be',
    '[Network/Proxy] allowedTargets of profile "joined" is one that has "db;other=*.net": no target has semicolons or equals signs, which separate profiles: ' +
      'write one target per entry',
  ]);
});

test('refuses more than Lambda has room for, once for all profiles', () => {
  const proxy = makeProxy(stack);
  const targets = (count: number) => Array.from({ length: count }, (_, index) => `machine-${index}.example.ts.net`);
  proxy.addProfile('first', { allowedTargets: targets(60) });
  expect(problems(app)).toEqual([]);

  proxy.addProfile('second', { allowedTargets: targets(60) });
  proxy.addProfile('third', { allowedTargets: [new CfnParameter(stack, 'Text').valueAsString, ...targets(60)] });

  expect(problems(app)).toEqual([expect.stringMatching(
    /^\[Network\/Proxy\] the environment is [45]\d{3} bytes long with its profiles: Lambda has room for 4096: shorten the profiles' allowedTargets, or give/,
  )]);
});

test('a proxy that is refused takes profiles all the same, and reports its own problems', () => {
  const proxy = makeProxy(stack, { connectTimeout: undefined, allowedTargets: [] });

  proxy.addProfile('billing', TARGETS).addCaller(makeFunction(stack, 'Caller'));

  expect(problems(app)).toEqual([expect.stringContaining('allowedTargets is an empty list')]);
});

test.each<[string[], string[], string]>([
  [['db'], ['db', 'web'], 'web'],
  [['db:5432'], ['db'], 'db'],
  [['db:80-90'], ['db:80', 'DB:85-91'], 'DB:85-91'],
  [['*.example.ts.net'], ['a.example.ts.net', 'a.b.example.ts.net.', '*.b.example.ts.net:80', '*.example.ts.net', 'example.ts.net'], 'example.ts.net'],
  [['10.1.0.0/16'], ['10.1.2.3', '10.1.2.0/24:80', '10.0.0.0/8', '10.2.0.1', '10.1.0.0'], '10.0.0.0/8, 10.2.0.1'],
  [['10.1.0.1'], ['10.1.0.1:443', '10.1.0.2', 'fd7a::1'], '10.1.0.2, fd7a::1'],
  [['fd7a:115c:a1e0::/48'], ['fd7a:115c:a1e0::2', '[fd7a:115c:a1e0::2]:80', '[fd7b::1]:80', '10.1.0.1'], '[fd7b::1]:80, 10.1.0.1'],
  [['<local>'], ['db', 'db:80', 'db.example.ts.net', '10.1.0.1', 'localhost'], 'db.example.ts.net, 10.1.0.1, localhost'],
])('of the proxy\'s %j, warns where of %j these are outside: %s', (allowedTargets, own, outside) => {
  makeProxy(stack, { allowedTargets }).addProfile('billing', { allowedTargets: own });

  expect(warnings(stack)).toEqual([
    `/Network/Proxy/profile-billing ${outside} is not within one entry of the proxy's allowedTargets, which hold for profiles as well: what is not in both ` +
    'lists is refused. Add it to the proxy\'s allowedTargets, or leave it out here. [ack: tailscale-lambda-proxy:profileTargetNotAllowed]',
  ]);
});

test.each<[string, () => string[] | undefined]>([
  ['that has none', () => undefined],
  ['whose own are not known', () => ['db', new CfnParameter(stack, 'Text').valueAsString]],
])('does not warn of a profile of a proxy %s', (_, allowedTargets) => {
  makeProxy(stack, { allowedTargets: allowedTargets() }).addProfile('billing', { allowedTargets: ['web'] });

  expect(warnings(stack)).toEqual([]);
});

test('what is retained includes the profiles', () => {
  const proxy = makeProxy(stack);
  proxy.addProfile('billing', TARGETS);

  proxy.applyRemovalPolicy(RemovalPolicy.RETAIN);

  for (const type of ['AWS::Lambda::Alias', 'AWS::Lambda::Url']) {
    const resources = Object.values(Template.fromStack(stack).findResources(type));
    expect(resources.map(({ DeletionPolicy }) => DeletionPolicy)).toEqual(resources.map(() => 'Retain'));
    expect(resources.length).toBeGreaterThan(0);
  }
});
