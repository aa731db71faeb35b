import { Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { AddCallerOptions } from './add-caller-options';
import { addCallerOf } from './caller';
import { grantInvokeOf } from './grant-invoke';
import { ITailscaleLambdaProxy } from './tailscale-lambda-proxy-interface';
import { Validation } from './validation';

/**
 * What a profile is made of.
 * @internal
 */
export interface ProfileParts {
  /** The alias's name. */
  readonly name: string;
  /** What the alias leads to. */
  readonly version: lambda.IVersion;
  /** The settings of the Function URL; none without one. */
  readonly functionUrl?: lambda.FunctionUrlOptions;
}

/**
 * A proxy as some of its callers see it: the same function under an alias of its own, with a Function URL of its own and the targets that
 * these callers may name. Made by `addProfile` of `TailscaleLambdaProxy`.
 *
 * What it grants, it grants on the alias alone: neither on the function, nor on the aliases of other profiles.
 *
 * @example
 * import * as lambda from 'aws-cdk-lib/aws-lambda';
 * import { TailscaleLambdaProxy } from 'tailscale-lambda-proxy';
 *
 * declare const proxy: TailscaleLambdaProxy;
 * declare const billing: lambda.Function;
 *
 * const profile = proxy.addProfile('billing', { allowedTargets: ['billing.example.ts.net:8080'] });
 * profile.addCaller(billing);
 */
export class TailscaleLambdaProxyProfile extends Construct implements ITailscaleLambdaProxy {
  /**
   * Makes a profile in the scope of its proxy.
   * @internal
   */
  public static _make(scope: Construct, id: string, parts: ProfileParts): TailscaleLambdaProxyProfile {
    return new TailscaleLambdaProxyProfile(scope, id, parts);
  }

  /**
   * The alias that callers of the profile invoke. Its name is the profile's.
   */
  public readonly alias: lambda.Alias;

  private readonly functionUrl?: lambda.FunctionUrl;

  private constructor(scope: Construct, id: string, parts: ProfileParts) {
    super(scope, id);
    this.alias = new lambda.Alias(this, 'alias', { aliasName: parts.name, version: parts.version });
    this.functionUrl = parts.functionUrl && this.alias.addFunctionUrl(parts.functionUrl);
  }

  /**
   * The Function URL of the alias. Fails with `functionUrl: false`.
   */
  public get lambdaFunctionUrl(): lambda.FunctionUrl {
    return this.functionUrl ?? new Validation(this).fail('functionUrl', 'false', 'without it callers have no URL: leave it out, or use grantInvoke, or addCaller with CallerVia.INVOKE');
  }

  /**
   * The address that callers of the profile send signed requests to. It ends with a slash. Fails with `functionUrl: false`.
   */
  public get url(): string {
    return this.lambdaFunctionUrl.url;
  }

  /**
   * The ARN that callers of the profile may invoke: the alias's.
   */
  public get functionArn(): string {
    return this.alias.functionArn;
  }

  /**
   * Lets a caller send requests to the profile's Function URL: grants the two permissions that Lambda requires, on the alias alone.
   *
   * @param grantee the caller, or its role
   * @see https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
   */
  public grantInvokeUrl(grantee: iam.IGrantable): iam.Grant {
    return this.lambdaFunctionUrl.grantInvokeUrl(grantee);
  }

  /**
   * Lets a caller invoke the profile by Lambda's API (`lambda:InvokeFunction` on the alias alone). The payload is an event of a Function
   * URL, as for the proxy itself. A grantee of another account needs a permission of the alias as well.
   *
   * @param grantee the caller, or its role
   */
  public grantInvoke(grantee: iam.IGrantable): iam.Grant {
    return grantInvokeOf(this.functionArn, grantee);
  }

  /**
   * Lets a function send requests to the profile's Function URL, and gives it that URL in the environment variable `TS_PROXY_URL`. The
   * options, and what holds for callers of other stacks, regions and accounts, are those of the proxy's `addCaller`.
   *
   * @param caller the function that is to call
   * @param options the layer, and what it is told
   */
  public addCaller(caller: lambda.Function, options?: AddCallerOptions): iam.Grant {
    return addCallerOf(this, Stack.of(this).account, caller, options);
  }
}
