import { Arn, ArnFormat } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { AddCallerOptions } from './add-caller-options';
import { addCallerOf } from './caller';
import { grantInvokeOf } from './grant-invoke';
import { ITailscaleLambdaProxy, TailscaleLambdaProxyAttributes } from './tailscale-lambda-proxy-interface';
import { Validation } from './validation';

/**
 * A proxy of another app.
 * @internal
 */
export class ImportedProxy extends Construct implements ITailscaleLambdaProxy {
  public readonly functionArn: string;
  private readonly fn: lambda.IFunction;
  private readonly functionUrl?: string;

  constructor(scope: Construct, id: string, attributes: TailscaleLambdaProxyAttributes) {
    super(scope, id);
    this.functionUrl = attributes.url;
    this.functionArn = attributes.functionArn;
    // A policy of the caller's role is all that this app can write: what the function's own policy allows, its app says.
    this.fn = lambda.Function.fromFunctionAttributes(this, 'Function', { functionArn: attributes.functionArn, skipPermissions: true });
  }

  /** Fails where the attributes have none. */
  public get url(): string {
    return this.requireUrl();
  }

  /** Fails without a URL: the grant would be of no use to anybody. */
  public grantInvokeUrl(grantee: iam.IGrantable): iam.Grant {
    this.requireUrl();
    return this.fn.grantInvokeUrl(grantee);
  }

  public grantInvoke(grantee: iam.IGrantable): iam.Grant {
    return grantInvokeOf(this.functionArn, grantee);
  }

  public addCaller(caller: lambda.Function, options?: AddCallerOptions): iam.Grant {
    const account = Arn.split(this.functionArn, ArnFormat.COLON_RESOURCE_NAME).account ?? '';
    return addCallerOf(this, account, caller, options);
  }

  private requireUrl(): string {
    return this.functionUrl || new Validation(this).fail('url', 'not set', 'set it to the proxy\'s Function URL; without one use grantInvoke, or addCaller with CallerVia.INVOKE');
  }
}
