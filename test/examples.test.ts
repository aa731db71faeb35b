import * as cdk from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import './constructs';
import { ExtensionStack } from '../examples/typescript/extension-stack';
import { ProxyStack } from '../examples/typescript/proxy-stack';

let proxy: Template;
let extension: Template;

// Once for all tests: esbuild bundles the functions.
beforeAll(() => {
  proxy = Template.fromStack(new ProxyStack(new cdk.App(), 'TailnetProxy'));
  extension = Template.fromStack(new ExtensionStack(new cdk.App(), 'TailnetExtension'));
});

test('the example\'s caller knows the proxy, and may call it', () => {
  proxy.hasResourceProperties('AWS::Lambda::Function', {
    Handler: 'index.handler',
    Environment: { Variables: { TS_PROXY_URL: { 'Fn::GetAtt': [Match.stringLikeRegexp('FunctionUrl'), 'FunctionUrl'] } } },
  });
  proxy.hasResourceProperties('AWS::IAM::Policy', {
    PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Action: 'lambda:InvokeFunctionUrl' })]) },
    Roles: [{ Ref: Match.stringLikeRegexp('^Caller') }],
  });
});

test('the example\'s first caller signs nothing', () => {
  proxy.hasResourceProperties('AWS::Lambda::Function', {
    Layers: [{ Ref: Match.stringLikeRegexp('^TailscaleLambdaCaller') }],
    Environment: { Variables: Match.objectLike({ HTTP_PROXY: 'http://localhost:8055', NODE_USE_ENV_PROXY: '1', TS_METRIC_SERVICE: 'reports' }) },
  });
});

test('the example\'s alarm watches the metric that its caller asks for', () => {
  proxy.hasResourceProperties('AWS::CloudWatch::Alarm', {
    Namespace: 'tailscale-service',
    MetricName: 'failure',
    Dimensions: [{ Name: 'service', Value: 'reports' }],
  });
});

test('the example with the extension alone puts its function into the tailnet', () => {
  extension.hasResourceProperties('AWS::Lambda::Function', {
    Layers: [{ Ref: Match.stringLikeRegexp('^TailscaleLambdaExtension') }],
    Environment: { Variables: Match.objectLike({ TS_HOSTNAME: 'lambda-direct' }) },
  });
});
