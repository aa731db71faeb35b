import { RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { extensionEnvironment } from './environment';
import { grantParameter, grantSecret } from './grant-secret';
import { layerOf } from './layer-of-stack';
import { proxyVariables } from './proxy-environment';
import { secretOf } from './secret-validation';
import { TailscaleFunctionOptions } from './tailscale-function-options';
import { validateDoors } from './validate-doors';
import { validateNode } from './validate-node';
import { Validation } from './validation';
import { warn, Warning } from './warnings';
import { useWorkloadIdentity } from './workload-identity';

/**
 * Properties of `TailscaleLambdaExtension`.
 */
export interface TailscaleLambdaExtensionProps {
  /**
   * The architecture of the functions that the layer is for.
   *
   * @default Architecture.X86_64
   */
  readonly architecture?: lambda.Architecture;

  /**
   * The layer's name, description, license and removal policy.
   *
   * @default - the defaults of `lambda.LayerVersionOptions`
   */
  readonly options?: lambda.LayerVersionOptions;
}

/** What a validated function gets beside the variables of the extension. */
interface Attachment {
  /** An image brings the extension itself. */
  readonly layer: boolean;
}

/** The functions that have an extension already. */
const EXTENDED = new WeakSet<lambda.Function>();

/**
 * A Lambda layer with an extension that joins a tailnet, and a proxy on `localhost:1055` that leads into it: HTTP and SOCKS5.
 *
 * For one function, with any client: HTTP clients by `proxyEnvironment`, database drivers by `forwards`, others by SOCKS5. Connections wait for the tailnet and are retried as the proxy's own are.
 * Connections to addresses that the tailnet does not cover use the function's own network, unless an exit node is required.
 *
 * For several functions, or for plain HTTP, see `TailscaleLambdaProxy`.
 *
 * @example
 * import * as cdk from 'aws-cdk-lib';
 * import * as lambda from 'aws-cdk-lib/aws-lambda';
 * import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
 * import { TailscaleLambdaExtension } from 'tailscale-lambda-proxy';
 *
 * declare const stack: cdk.Stack;
 * declare const reports: lambda.Function;
 *
 * new TailscaleLambdaExtension(stack, 'Tailscale').addToFunction(reports, {
 *   tsAuthKeySecret: secretsmanager.Secret.fromSecretNameV2(stack, 'AuthKey', 'tailscale-api-key'),
 *   tsHostname: 'reports',
 * });
 * @see https://docs.aws.amazon.com/lambda/latest/dg/lambda-extensions.html
 */
export class TailscaleLambdaExtension extends Construct {
  /**
   * The layer in the stack of this construct. Constructs of one stack share a layer if their architecture and options are
   * the same. `addToFunction` gives a function of another stack a layer of its own stack, because a layer's ARN changes with
   * each release, and CloudFormation refuses to change an exported ARN that is in use.
   */
  public readonly layer: lambda.LayerVersion;

  private readonly architecture: lambda.Architecture;
  private readonly options?: lambda.LayerVersionOptions;
  private readonly validation: Validation;

  constructor(scope: Construct, id: string, props: TailscaleLambdaExtensionProps = {}) {
    super(scope, id);
    this.validation = new Validation(this);
    this.architecture = props.architecture ?? lambda.Architecture.X86_64;
    this.options = props.options;
    this.layer = layerOf(Stack.of(this), this.architecture, props.options);
  }

  /**
   * Adds the layer to a function, sets the environment variables with which it joins the tailnet, and lets its role read the
   * secret or the parameter, or get tokens for `tsWorkloadIdentity`.
   *
   * Synthesis fails for functions that cannot have the extension: container images, functions with SnapStart, functions of
   * another architecture, and functions that have the extension already.
   *
   * @param fn a function of the layer's architecture, of any runtime: the programs in the layer need no C library
   * @param options how the function joins the tailnet
   */
  public addToFunction(fn: lambda.Function, options: TailscaleFunctionOptions): void {
    // Of this function alone, so that another function of the same extension is not held back.
    const validation = new Validation(this);
    this.validateOptions(validation, fn, options);
    this.validateFunction(validation, fn);
    if (!validation.failed) {
      this.attach(fn, options, { layer: true });
    }
  }

  /**
   * Sets the environment variables with which a function from a container image joins the tailnet, and lets it read the
   * secret. Lambda has no layers for images: the image must hold the extension itself, in `/opt`, as the page about the
   * extension says.
   *
   * @param fn a function from a container image
   * @param options how the function joins the tailnet
   */
  public addToImageFunction(fn: lambda.Function, options: TailscaleFunctionOptions): void {
    const validation = new Validation(this);
    this.validateOptions(validation, fn, options);
    if (fn.runtime.name !== lambda.Runtime.FROM_IMAGE.name) {
      validation.refuse('fn', `${fn.node.path}, which is not a container image`, 'use addToFunction, which adds the layer');
    }
    if (!validation.failed) {
      this.attach(fn, options, { layer: false });
    }
  }

  /**
   * Lets other accounts use the layer of this construct's stack in their functions.
   *
   * CloudFormation deletes a layer's old version when a release brings a new one, unless its removal policy is `RETAIN`:
   * functions that have the old version go on working, but cannot be updated or deployed anew with it.
   *
   * @param id the permission's id within this construct
   * @param permission the account's 12 digits, or `*` for all accounts, of one organization if it is named
   */
  public addPermission(id: string, permission: lambda.LayerVersionPermission): void {
    const { accountId, organizationId } = permission;
    this.validation.text('accountId', accountId, /^(\d{12}|\*)$/, 'use the account\'s 12 digits, or "*" for all accounts');
    if (organizationId && accountId !== '*') {
      this.validation.refuse('organizationId', `"${organizationId}" with accountId "${accountId}"`,
        'an organization gets the permission as a whole: use "*" as the accountId');
    }
    if (this.options?.removalPolicy !== RemovalPolicy.RETAIN) {
      warn(this, Warning.LAYER_PERMISSION, 'other accounts may use a layer version that the next release deletes: ' +
        'set options.removalPolicy to RemovalPolicy.RETAIN, so that old versions stay.');
    }
    // Not the layer's own method: its ids would be those of all constructs that share the layer.
    new lambda.CfnLayerVersionPermission(this, id, {
      action: 'lambda:GetLayerVersion', layerVersionArn: this.layer.layerVersionArn, principal: accountId, organizationId: organizationId || undefined,
    });
  }

  /**
   * Adds the layer to a function whose options are validated.
   * @internal
   */
  public _attach(fn: lambda.Function, options: TailscaleFunctionOptions): void {
    this.attach(fn, options, { layer: true });
  }

  private attach(fn: lambda.Function, options: TailscaleFunctionOptions, { layer }: Attachment): void {
    EXTENDED.add(fn);
    if (layer) {
      fn.addLayers(layerOf(Stack.of(fn), this.architecture, this.options));
    }
    const proxies = options.proxyEnvironment ? proxyVariables(options.noProxy) : {};
    for (const [name, value] of Object.entries({ ...extensionEnvironment(options), ...proxies })) {
      fn.addEnvironment(name, value);
    }
    const secret = secretOf(options);
    if (secret) {
      grantSecret(secret, fn);
    }
    if (options.tsAuthKeyParameter) {
      grantParameter(options.tsAuthKeyParameter, fn);
    }
    if (options.tsWorkloadIdentity) {
      useWorkloadIdentity(fn, options.tsWorkloadIdentity);
    }
  }

  private validateOptions(validation: Validation, fn: lambda.Function, options: TailscaleFunctionOptions): void {
    validateNode(validation, options, fn);
    validateDoors(validation, options);
    if (EXTENDED.has(fn)) {
      validation.refuse('fn', `${fn.node.path}, which has the extension already`, 'add it once to each function');
    }
  }

  private validateFunction(validation: Validation, fn: lambda.Function): void {
    const { path } = fn.node;
    if (fn.architecture.name !== this.architecture.name) {
      validation.refuse('architecture', `"${this.architecture.name}"`,
        `${path} has "${fn.architecture.name}": give the extension the function's architecture`);
    }
    if (fn.runtime.name === lambda.Runtime.FROM_IMAGE.name) {
      validation.refuse('fn', `${path}, which is a container image`,
        'Lambda has no layers for images: put the extension into the image, and use addToImageFunction');
    }
    refuseSnapStart(fn);
  }
}

/** SnapStart may also be switched on later, by an aspect or on the function's resource: it is looked for at the end. */
function refuseSnapStart(fn: lambda.Function): void {
  fn.node.addValidation({
    validate: () => (fn.node.defaultChild as lambda.CfnFunction).snapStart === undefined ? [] : [
      'snapStart is set: the environments of a snapshot would share one machine of the tailnet, with its keys: ' +
      'leave out snapStart, or take the function out of addToFunction',
    ],
  });
}
