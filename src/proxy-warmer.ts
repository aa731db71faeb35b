// What keeps a proxy's environments warm: a function with concurrent invocations of the proxy, and the rule that runs it.
import { Duration } from 'aws-cdk-lib';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { assetPath, Binary } from './binaries';
import { warmerEnvironment } from './environment';
import { makeFunction } from './lambda-function';
import { architectureOf } from './proxy-function';
import { TailscaleLambdaProxyProps } from './tailscale-lambda-proxy-props';

/**
 * How many environments are kept warm if the props do not say.
 * @internal
 */
export const WARM_BY_DEFAULT = 3;

/**
 * Makes the warmer's function, which may invoke `proxy` and nothing else: the proxy's function, or its alias.
 * @internal
 */
export function makeWarmer(scope: Construct, id: string, proxy: lambda.IFunction, props: TailscaleLambdaProxyProps): lambda.Function {
  const { concurrentInvocations, interval, ...options } = props.options?.warmer ?? {};
  const architecture = options.architecture ?? architectureOf(props);
  const warmer = makeFunction(scope, id, {
    logGroupId: 'proxy-warmer-logs',
    defaults: {
      description: 'Keeps environments of the tailnet\'s proxy warm',
      // The share of a core that opens a hundred connections side by side in well under a second.
      memorySize: 256,
      timeout: Duration.minutes(1),
      // The next round is soon enough.
      retryAttempts: 0,
    },
    options,
    fixed: {
      architecture,
      // The proxy's own executable, which its environment makes the warmer.
      code: lambda.Code.fromAsset(assetPath(Binary.PROXY, architecture)),
      environment: {
        ...options.environment,
        ...warmerEnvironment({ function: proxy.functionArn, invocations: concurrentInvocations ?? WARM_BY_DEFAULT, debug: props.debug }),
      },
    },
  });
  warmer.addToRolePolicy(new iam.PolicyStatement({
    actions: ['lambda:InvokeFunction'],
    resources: [proxy.functionArn],
  }));
  return warmer;
}

/**
 * Makes the rule that runs the warmer.
 * @internal
 */
export function makeWarmerRule(scope: Construct, id: string, warmer: lambda.Function, props: TailscaleLambdaProxyProps): events.Rule {
  return new events.Rule(scope, id, {
    description: 'Runs the warmer of the tailnet\'s proxy',
    schedule: events.Schedule.rate(props.options?.warmer?.interval ?? Duration.minutes(5)),
    targets: [new targets.LambdaFunction(warmer, { retryAttempts: 0 })],
  });
}
