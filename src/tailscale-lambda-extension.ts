import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { isOnAmazonLinux2 } from './amazon-linux';
import { assetPath, Binary } from './binaries';
import { extensionEnvironment } from './environment';
import { grantSecret } from './grant-secret';
import { TailscaleFunctionOptions } from './tailscale-function-options';
import { validateNode } from './validate-node';
import { Validation } from './validation';

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
   * The layer's name, description, licence and removal policy.
   *
   * @default - as of `LayerVersion`
   */
  readonly options?: lambda.LayerVersionOptions;
}

/**
 * A Lambda layer with an extension that joins a tailnet, and a SOCKS5 proxy on `localhost:1055` that leads into it.
 *
 * For one function that speaks SOCKS5 itself. What it dials waits for the tailnet, and is looked after as the proxy's own
 * dials are; what the tailnet does not cover leaves by the function's own network, unless an exit node is required.
 *
 * For several functions, or for plain HTTP, see `TailscaleLambdaProxy`.
 */
export class TailscaleLambdaExtension extends Construct {
  /**
   * The layer. A function that has it needs the extension's environment and the secret as well: see `addToFunction`.
   */
  public readonly layer: lambda.LayerVersion;

  private readonly architecture: lambda.Architecture;

  constructor(scope: Construct, id: string, props: TailscaleLambdaExtensionProps = {}) {
    super(scope, id);
    this.architecture = props.architecture ?? lambda.Architecture.X86_64;
    this.layer = new lambda.LayerVersion(this, 'tailscale-extension', {
      description: 'Joins a tailnet, and serves SOCKS5 on localhost:1055',
      ...props.options,
      code: lambda.Code.fromAsset(assetPath(Binary.EXTENSION, this.architecture)),
      compatibleArchitectures: [this.architecture],
    });
  }

  /**
   * Adds the layer to a function, tells it how to join the tailnet, and lets it read the secret.
   *
   * @param fn a function of the layer's architecture, on Amazon Linux 2023
   * @param options how it joins the tailnet
   */
  public addToFunction(fn: lambda.Function, options: TailscaleFunctionOptions): void {
    const validation = new Validation(this);
    validateNode(validation, options);
    if (fn.architecture.name !== this.architecture.name) {
      validation.refuse('architecture', `"${this.architecture.name}"`,
        `${fn.node.path} has "${fn.architecture.name}": give the extension the function's architecture`);
    }
    if (isOnAmazonLinux2(fn.runtime)) {
      validation.refuse('runtime', `"${fn.runtime.name}" in ${fn.node.path}`,
        'the extension needs Amazon Linux 2023: use a later runtime, such as python3.12, nodejs20.x, java21 or provided.al2023');
    }
    fn.addLayers(this.layer);
    for (const [name, value] of Object.entries(extensionEnvironment(options))) {
      fn.addEnvironment(name, value);
    }
    grantSecret(options.tsSecretApiKey, fn);
  }

  /**
   * Lets other accounts use the layer in functions of theirs.
   *
   * @param id the permission's id among those of the layer
   * @param permission the account's 12 digits, or `*` for all accounts, of one organization if it is named
   */
  public addPermission(id: string, permission: lambda.LayerVersionPermission): void {
    const validation = new Validation(this);
    validation.text('accountId', permission.accountId, /^(\d{12}|\*)$/, 'use the account\'s 12 digits, or "*" for all accounts');
    if (permission.organizationId && permission.accountId !== '*') {
      validation.refuse('organizationId', `"${permission.organizationId}" with accountId "${permission.accountId}"`,
        'an organization is let in as a whole: use "*" as the accountId');
    }
    this.layer.addPermission(id, permission);
  }
}
