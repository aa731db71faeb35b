import { App, CfnOutput, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as s3 from 'aws-cdk-lib/aws-s3';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { useFixtureZips } from './fixture-zips';
import { ITailscaleLambdaProxy, TailscaleLambdaProxy, TailscaleLambdaProxyPropsLambdaOption } from '../src';

const URL = 'https://abc.lambda-url.eu-west-1.on.aws/';
const ARN = 'arn:aws:lambda:eu-west-1:111122223333:function:proxy:live';

let stack: Stack;

beforeEach(() => {
  useFixtureZips();
  stack = new Stack(new App(), 'Application', { env: { account: '111122223333', region: 'eu-west-1' } });
});

function makeProxy(options: TailscaleLambdaProxyPropsLambdaOption = {}): TailscaleLambdaProxy {
  const tsAuthKeySecret = secretsmanager.Secret.fromSecretNameV2(stack, 'Secret', 'tailscale-api-key');
  return new TailscaleLambdaProxy(stack, 'Proxy', { tsAuthKeySecret, tsHostname: 'lambda-test', options: { lambda: options } });
}

function makeCaller(): lambda.Function {
  return new lambda.Function(stack, 'Caller', {
    runtime: lambda.Runtime.PYTHON_3_13, handler: 'index.handler', code: lambda.Code.fromInline('def handler(event, context): pass'),
  });
}

const imported = () => TailscaleLambdaProxy.fromTailscaleLambdaProxyAttributes(stack, 'Imported', { url: URL, functionArn: ARN });

test.each<[string, () => ITailscaleLambdaProxy]>([
  ['of the app', () => makeProxy()],
  ['of the app, with an alias', () => makeProxy({ alias: true })],
  ['that is imported', imported],
])('addCaller gives a function the URL of a proxy and the right to invoke it: %s', (_, make) => {
  const proxy = make();

  proxy.addCaller(makeCaller());

  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::Lambda::Function', { Handler: 'index.handler', Environment: { Variables: { TS_PROXY_URL: stack.resolve(proxy.url) } } });
  template.hasResourceProperties('AWS::IAM::Policy', {
    Roles: [{ Ref: Match.stringLikeRegexp('^Caller') }],
    PolicyDocument: {
      Statement: ['lambda:InvokeFunctionUrl', 'lambda:InvokeFunction'].map((Action) => Match.objectLike({ Action, Resource: stack.resolve(proxy.functionArn) })),
    },
  });
});

test('addCaller takes another variable', () => {
  const caller = makeCaller();
  imported().addCaller(caller, { environmentVariable: 'OFFICE_URL' });
  makeProxy().addCaller(caller, { environmentVariable: '' });

  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', { Environment: { Variables: { OFFICE_URL: URL, TS_PROXY_URL: Match.anyValue() } } });
});

test('an imported proxy makes nothing by itself', () => {
  const proxy = imported();
  new CfnOutput(stack, 'Url', { value: proxy.url });

  expect(Template.fromStack(stack).toJSON().Resources).toBeUndefined();
});

test('an imported proxy without a URL refuses to grant its use, and grants invocations', () => {
  const proxy = TailscaleLambdaProxy.fromTailscaleLambdaProxyAttributes(stack, 'Imported', { functionArn: ARN });
  const caller = makeCaller();
  const lacking = 'Application/Imported: url is not set: set it to the proxy\'s Function URL; without one use grantInvoke, or addCaller with CallerVia.INVOKE';

  expect(() => proxy.grantInvokeUrl(caller)).toThrow(lacking);
  expect(() => proxy.url).toThrow(lacking);
  proxy.grantInvoke(caller);

  Template.fromStack(stack).hasResourceProperties('AWS::IAM::Policy', {
    PolicyDocument: { Statement: [{ Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: ARN }] },
  });
});

test('what is granted to a proxy its function gets', () => {
  const bucket = s3.Bucket.fromBucketName(stack, 'Certificates', 'certificates');
  const grantee: iam.IGrantable = makeProxy();

  bucket.grantRead(grantee);

  Template.fromStack(stack).hasResourceProperties('AWS::IAM::Policy', {
    Roles: [{ Ref: Match.stringLikeRegexp('^Proxy.*lambda') }],
    PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Action: Match.arrayWith(['s3:GetObject*']) })]) },
  });
});
