import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { IConstruct } from 'constructs';

/**
 * A proxy into a tailnet: one of this app, or one that is imported.
 */
export interface ITailscaleLambdaProxy extends IConstruct {
  /**
   * The address that callers send signed requests to. It ends with a slash.
   */
  readonly url: string;

  /**
   * The ARN that callers may invoke: of the function, or of its alias if the Function URL belongs to an alias.
   */
  readonly functionArn: string;

  /**
   * Lets a caller send requests to the Function URL: grants the two permissions that Lambda requires.
   *
   * @param grantee the caller, or its role
   * @see https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
   */
  grantInvokeUrl(grantee: iam.IGrantable): iam.Grant;

  /**
   * Lets a function send requests to the Function URL, and gives it the URL in an environment variable.
   *
   * @param caller the function that is to call
   * @param environmentVariable the variable's name, `TS_PROXY_URL` by default
   */
  addCaller(caller: lambda.Function, environmentVariable?: string): iam.Grant;
}

/**
 * What is to be known of a proxy to import it.
 */
export interface TailscaleLambdaProxyAttributes {
  /**
   * The proxy's Function URL.
   */
  readonly url: string;

  /**
   * The ARN that callers may invoke: `functionArn` of the proxy, with the alias at its end if there is one.
   */
  readonly functionArn: string;
}
