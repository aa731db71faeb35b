import * as path from 'path';
import { App, Stack, Stage } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { IConstruct } from 'constructs';
import { TailscaleLambdaProxy, TailscaleLambdaProxyProps } from '../src';
import * as binaries from '../src/binaries';

/** The folder of the zips that stand in for the real ones. */
export const FIXTURE_ASSETS = path.join(__dirname, 'fixtures', 'assets');

const real = binaries.assetPath;

/** Makes the constructs take tiny zips, so that their tests need neither cargo nor Go. */
export function useFixtureZips(assets: string): void {
  jest.spyOn(binaries, 'assetPath').mockImplementation((binary, architecture) => real(binary, architecture, assets));
}

// For every test that imports this.
useFixtureZips(FIXTURE_ASSETS);

/** The secret with the auth key, which is not the app's. */
export const authKey = (scope: Stack) => secretsmanager.Secret.fromSecretNameV2(scope, 'Secret', 'tailscale-api-key');

/** A proxy with what it needs, and `props`. */
export function makeProxy(scope: Stack, props: Partial<TailscaleLambdaProxyProps> = {}): TailscaleLambdaProxy {
  return new TailscaleLambdaProxy(scope, 'Proxy', {
    tsHostname: 'lambda-test', ...props, tsAuthKeySecret: props.tsAuthKeySecret ?? authKey(scope),
  });
}

/** A function of the app's. */
export function makeFunction(scope: Stack, id: string, props: Partial<lambda.FunctionProps> = {}): lambda.Function {
  return new lambda.Function(scope, id, {
    runtime: lambda.Runtime.PYTHON_3_13, handler: 'index.handler', code: lambda.Code.fromInline('def handler(event, context): pass'), ...props,
  });
}

/** What a function is told by its environment. */
export function variablesOf(fn: lambda.IFunction): Record<string, unknown> {
  return Stack.of(fn).resolve((fn.node.defaultChild as lambda.CfnFunction).environment).variables;
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

/** What the synthesis of an app refuses, as "[path] problem": empty where it goes through. */
export function problems(scope: IConstruct): string[] {
  try {
    (scope.node.root as App | Stage).synth({ force: true });
    return [];
  } catch (error) {
    const [first, ...lines] = (error as Error).message.split('\n').map((line) => line.trim());
    if (!first.startsWith('Validation failed')) {
      throw error;
    }
    return lines.filter((line) => line !== '');
  }
}

/** The constructs' own warnings in a stack, as "/path message [ack: id]". */
export function warnings(stack: Stack): string[] {
  return Annotations.fromStack(stack).findWarning('*', Match.stringLikeRegexp('tailscale-lambda-proxy:')).map(({ id, entry }) => `${id} ${String(entry.data)}`);
}
