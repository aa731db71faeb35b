import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { ITailscaleLambdaProxy, TailscaleLambdaProxyAttributes } from './tailscale-lambda-proxy-interface';

/**
 * Where a caller finds the URL, unless it is told otherwise.
 * @internal
 */
export const URL_VARIABLE = 'TS_PROXY_URL';

/**
 * A proxy of another app.
 * @internal
 */
export class ImportedProxy extends Construct implements ITailscaleLambdaProxy {
  public readonly url: string;
  public readonly functionArn: string;
  private readonly fn: lambda.IFunction;

  constructor(scope: Construct, id: string, attributes: TailscaleLambdaProxyAttributes) {
    super(scope, id);
    this.url = attributes.url;
    this.functionArn = attributes.functionArn;
    this.fn = lambda.Function.fromFunctionArn(this, 'Function', attributes.functionArn);
  }

  public grantInvokeUrl(grantee: iam.IGrantable): iam.Grant {
    return this.fn.grantInvokeUrl(grantee);
  }

  public addCaller(caller: lambda.Function, environmentVariable?: string): iam.Grant {
    caller.addEnvironment(environmentVariable || URL_VARIABLE, this.url);
    return this.grantInvokeUrl(caller);
  }
}
