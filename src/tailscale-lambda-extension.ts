import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { assetPath, Binary } from './binaries';
import { extensionEnvironment } from './environment';
import { TailscaleNodeOptions } from './tailscale-node-options';
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
 * For one function that speaks SOCKS5 itself. For several functions, or for plain HTTP, see `TailscaleLambdaProxy`.
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
   * @param fn a function of the layer's architecture
   * @param options how it joins the tailnet
   */
  public addToFunction(fn: lambda.Function, options: TailscaleNodeOptions): void {
    new Validation(this).node(options);
    if (fn.architecture.name !== this.architecture.name) {
      throw new Error(
        `${this.node.path}: architecture is "${this.architecture.name}", but that of ${fn.node.path} is ` +
        `"${fn.architecture.name}": give the extension the function's architecture`,
      );
    }
    fn.addLayers(this.layer);
    for (const [name, value] of Object.entries(extensionEnvironment(options))) {
      fn.addEnvironment(name, value);
    }
    options.tsSecretApiKey.grantRead(fn);
  }
}
