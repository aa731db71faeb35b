import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { IConstruct } from 'constructs';
import { AddCallerOptions } from './add-caller-options';

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
   * Lets a caller invoke the proxy by Lambda's API (`lambda:InvokeFunction`): where there are no Function URLs, or from a subnet without
   * internet, by the interface endpoint of Lambda. The payload is an event of a Function URL, and so is the response; the page on callers
   * by Invoke shows both.
   *
   * More is trusted to such a caller than to one of the Function URL: it writes the event, and so chooses what the log says of it.
   * A grantee of another account needs a permission of the function as well.
   *
   * @param grantee the caller, or its role
   * @see https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
   */
  grantInvoke(grantee: iam.IGrantable): iam.Grant;

  /**
   * Lets a function send requests to the Function URL, and gives it the URL in the environment variable `TS_PROXY_URL`. With
   * `{ layer: true }` its code signs nothing: it requests `http://name:port/path` by the HTTP client that it has. With
   * `{ via: CallerVia.INVOKE }` it needs no Function URL.
   *
   * The function may be of another stack or region; a stack of another region needs `crossRegionReferences`. Where it is of another
   * account, a warning says what the proxy's account must grant.
   *
   * @param caller the function that is to call
   * @param options the layer, and what it is told
   */
  addCaller(caller: lambda.Function, options?: AddCallerOptions): iam.Grant;
}

/**
 * What is to be known of a proxy to import it.
 */
export interface TailscaleLambdaProxyAttributes {
  /**
   * The proxy's Function URL. One with `functionUrl: false` has none.
   *
   * @default - the proxy is called by `lambda:InvokeFunction` alone: `grantInvoke`, or `addCaller` with `CallerVia.INVOKE`
   */
  readonly url?: string;

  /**
   * The ARN that callers may invoke: `functionArn` of the proxy, with the alias at its end if there is one.
   */
  readonly functionArn: string;
}
