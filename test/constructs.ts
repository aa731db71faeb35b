import { Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { TailscaleLambdaProxy, TailscaleLambdaProxyProps } from '../src';

/** The secret with the auth key, which is not the app's. */
export const authKey = (scope: Stack) => secretsmanager.Secret.fromSecretNameV2(scope, 'Secret', 'tailscale-api-key');

/** A proxy with what it needs, and `props`. */
export function makeProxy(scope: Stack, props: Partial<TailscaleLambdaProxyProps> = {}): TailscaleLambdaProxy {
  return new TailscaleLambdaProxy(scope, 'Proxy', { tsAuthKeySecret: authKey(scope), tsHostname: 'lambda-test', ...props });
}

/** A function of the app's. */
export function makeFunction(scope: Stack, id: string, props: Partial<lambda.FunctionProps> = {}): lambda.Function {
  return new lambda.Function(scope, id, {
    runtime: lambda.Runtime.PYTHON_3_13, handler: 'index.handler', code: lambda.Code.fromInline('def handler(event, context): pass'), ...props,
  });
}

/** Every statement of the policies whose logical ids begin with `id`. */
export function statements(of: Stack, id = ''): unknown[] {
  return Object.entries(Template.fromStack(of).findResources('AWS::IAM::Policy'))
    .filter(([name]) => name.startsWith(id))
    .flatMap(([, policy]) => policy.Properties.PolicyDocument.Statement);
}

/** The two statements that a caller of a Function URL needs. */
export function urlStatements(resource: unknown): unknown[] {
  return [
    { Effect: 'Allow', Action: 'lambda:InvokeFunctionUrl', Resource: resource, Condition: { StringEquals: { 'lambda:FunctionUrlAuthType': 'AWS_IAM' } } },
    { Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: resource, Condition: { Bool: { 'lambda:InvokedViaFunctionUrl': true } } },
  ];
}
