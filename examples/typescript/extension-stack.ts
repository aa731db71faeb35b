import * as path from 'node:path';
import * as cdk from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { TailscaleLambdaExtension } from 'tailscale-lambda-proxy';

/** The extension alone: a function that is in the tailnet itself. */
export class ExtensionStack extends cdk.Stack {
  constructor(scope: Construct, id: string, props?: cdk.StackProps) {
    super(scope, id, props);

    const direct = new NodejsFunction(this, 'Direct', {
      entry: path.join(__dirname, 'functions', 'direct.ts'),
      runtime: lambda.Runtime.NODEJS_22_X,
      memorySize: 256,
      timeout: cdk.Duration.seconds(30),
    });
    new TailscaleLambdaExtension(this, 'Extension').addToFunction(direct, {
      tsAuthKeySecret: secretsmanager.Secret.fromSecretNameV2(this, 'AuthKey', 'tailscale-api-key'),
      tsHostname: 'lambda-direct',
    });

    new cdk.CfnOutput(this, 'DirectName', { value: direct.functionName });
  }
}
