import * as path from 'node:path';
import * as cdk from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { TailscaleLambdaProxy } from 'tailscale-lambda-proxy';

/** The proxy, a function that calls machines through it, and an alarm for when they cannot be reached. */
export class ProxyStack extends cdk.Stack {
  constructor(scope: Construct, id: string, props?: cdk.StackProps) {
    super(scope, id, props);

    const proxy = new TailscaleLambdaProxy(this, 'Proxy', {
      tsAuthKeySecret: secretsmanager.Secret.fromSecretNameV2(this, 'AuthKey', 'tailscale-api-key'),
      tsHostname: 'lambda-proxy',
      options: { lambda: { memorySize: 512 } },
    });

    // Signs nothing: its layer does, and HTTP_PROXY leads its requests there.
    const unsigned = new NodejsFunction(this, 'Unsigned', {
      entry: path.join(__dirname, 'functions', 'unsigned.ts'),
      runtime: lambda.Runtime.NODEJS_22_X,
      timeout: cdk.Duration.seconds(30),
    });
    proxy.addCaller(unsigned, { layer: true, metricService: 'reports' });

    // Signs by itself, without a layer.
    const caller = new NodejsFunction(this, 'Caller', {
      entry: path.join(__dirname, 'functions', 'caller.ts'),
      runtime: lambda.Runtime.NODEJS_22_X,
      timeout: cdk.Duration.seconds(30),
      // The signer comes along: of the AWS SDK's packages, Lambda's Node.js brings what its own clients need.
      bundling: { bundleAwsSDK: true },
    });
    // Sets TS_PROXY_URL, and lets the caller invoke the proxy: without that it gets a 403.
    proxy.addCaller(caller);

    // Both are counted in this metric: by metricService, and by the header ts-metric-service.
    TailscaleLambdaProxy.metricAllFailure('reports').createAlarm(this, 'Unreachable', {
      alarmDescription: 'Machines in the tailnet cannot be reached',
      threshold: 1,
      evaluationPeriods: 1,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    });

    new cdk.CfnOutput(this, 'UnsignedName', { value: unsigned.functionName });
    new cdk.CfnOutput(this, 'CallerName', { value: caller.functionName });
    new cdk.CfnOutput(this, 'ProxyUrl', { value: proxy.url });
  }
}
