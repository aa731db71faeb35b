import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as iam from 'aws-cdk-lib/aws-iam';
import { makeProxy, problems, statements, warnings } from './constructs';
import { TailscaleLambdaProxy } from '../src';

const ARN = 'arn:aws:lambda:eu-west-1:111122223333:function:proxy:live';

let app: App;
let stack: Stack;

beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Network', { env: { account: '111122223333', region: 'cn-north-1' } });
});

function makeRole(): iam.Role {
  return new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('states.amazonaws.com') });
}

test.each([true, false])('grants one action on one ARN, with an alias: %s', (alias) => {
  const proxy = makeProxy(stack, { options: { lambda: { alias } } });

  proxy.grantInvoke(makeRole());

  expect(statements(stack, 'Role')).toEqual([{ Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: stack.resolve(proxy.functionArn) }]);
});

test('an imported proxy grants the same', () => {
  TailscaleLambdaProxy.fromTailscaleLambdaProxyAttributes(stack, 'Imported', { url: 'https://abc/', functionArn: ARN }).grantInvoke(makeRole());

  expect(statements(stack, 'Role')).toEqual([{ Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: ARN }]);
});

test('without a Function URL there is none, nothing warns of the region, and what needs one fails', () => {
  const proxy = makeProxy(stack, { functionUrl: false });

  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::Lambda::Url', 0);
  template.resourceCountIs('AWS::Lambda::Permission', 0);
  expect(warnings(stack)).toEqual([]);
  const message = /Network\/Proxy: functionUrl is false: without it callers have no URL: leave it out, or use grantInvoke/;
  expect(() => proxy.url).toThrow(message);
  expect(() => proxy.lambdaFunctionUrl).toThrow(message);
  expect(() => proxy.grantInvokeUrl(makeRole())).toThrow(message);
});

test('with a Function URL where Lambda has none, the warning names the way without', () => {
  makeProxy(stack);

  expect(warnings(stack)).toEqual([expect.stringContaining('Set functionUrl to false and call grantInvoke')]);
});

test('refuses CORS without a Function URL', () => {
  makeProxy(stack, { functionUrl: false, cors: { allowedOrigins: ['*'] } });

  expect(problems(app)).toEqual([expect.stringContaining('cors is set without a Function URL: leave out cors, or functionUrl')]);
});
