import * as cdk from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { useFixtureZips } from './fixture-zips';
import { ExtensionStack } from '../examples/typescript/extension-stack';
import { ProxyStack } from '../examples/typescript/proxy-stack';

beforeEach(useFixtureZips);

test('the example\'s caller knows the proxy, and may call it', () => {
  const template = Template.fromStack(new ProxyStack(new cdk.App(), 'TailnetProxy'));

  template.hasResourceProperties('AWS::Lambda::Function', {
    Handler: 'index.handler',
    Environment: { Variables: { TS_PROXY_URL: { 'Fn::GetAtt': [Match.stringLikeRegexp('FunctionUrl'), 'FunctionUrl'] } } },
  });
  template.hasResourceProperties('AWS::IAM::Policy', {
    PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Action: 'lambda:InvokeFunctionUrl' })]) },
    Roles: [{ Ref: Match.stringLikeRegexp('^Caller') }],
  });
});

test('the example\'s alarm watches the metric that its caller asks for', () => {
  const template = Template.fromStack(new ProxyStack(new cdk.App(), 'TailnetProxy'));

  template.hasResourceProperties('AWS::CloudWatch::Alarm', {
    Namespace: 'tailscale-service',
    MetricName: 'failure',
    Dimensions: [{ Name: 'service', Value: 'reports' }],
  });
});

test('the example with the extension alone puts its function into the tailnet', () => {
  const template = Template.fromStack(new ExtensionStack(new cdk.App(), 'TailnetExtension'));

  template.hasResourceProperties('AWS::Lambda::Function', {
    Layers: [{ Ref: Match.stringLikeRegexp('^Extension') }],
    Environment: { Variables: Match.objectLike({ TS_HOSTNAME: 'lambda-direct' }) },
  });
});
