// Checks a proxy's props at synth.
import { Duration, Token } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { assetPath, Binary } from './binaries';
import { extensionEnvironment } from './environment';
import { validateFunctionOptions } from './function-validation';
import { LONGEST_TIMEOUT } from './lambda-function';
import { architectureOf, functionEnvironment, hasAlias } from './proxy-function';
import { validateSecretPlace } from './secret-validation';
import { TailscaleLambdaProxyPropsLambdaOption } from './tailscale-lambda-proxy-lambda-option';
import { TailscaleLambdaProxyProps } from './tailscale-lambda-proxy-props';
import { validateNode } from './validate-node';
import { validateWarmer } from './validate-warmer';
import { DurationUnit, Validation } from './validation';

/**
 * Room for the names and values of all variables: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
 * @internal
 */
export const ENVIRONMENT_BYTES = 4096;

/**
 * Refuses props that cannot work. Returns the props to make the resources from: after a refusal the synthesis fails in any
 * case, and stand-ins let it check the rest of the app first.
 * @internal
 */
export function validateProxy(owner: Construct, props: TailscaleLambdaProxyProps): TailscaleLambdaProxyProps {
  const validation = new Validation(owner);
  validateNode(validation, props, owner);
  validation.duration('connectTimeout', props.connectTimeout, Duration.millis(1), LONGEST_TIMEOUT);
  validation.duration('responseTimeout', props.responseTimeout, Duration.millis(1), LONGEST_TIMEOUT);
  validation.duration('firstByteTimeout', props.firstByteTimeout, Duration.millis(0), LONGEST_TIMEOUT);
  validation.duration('idleTimeout', props.idleTimeout, Duration.millis(0), LONGEST_TIMEOUT);
  validation.duration('cors.maxAge', props.cors?.maxAge, Duration.seconds(0), Duration.days(1), DurationUnit.SECONDS);
  validation.duration('metrics.interval', props.metrics?.interval, Duration.millis(0), LONGEST_TIMEOUT);
  validation.duration('metrics.budget', props.metrics?.budget, Duration.millis(1), LONGEST_TIMEOUT);
  validation.text('metrics.proxyName', props.metrics?.proxyName || undefined, /^[A-Za-z0-9_./:-]{1,255}$/,
    'use 1 to 255 letters, digits, hyphens, underscores, full stops, slashes and colons');
  validation.targets('allowedTargets', props.allowedTargets);
  validation.certificates('caCertificates', props.caCertificates || undefined, 3_000);
  validation.text('caCertificatesFile', props.caCertificatesFile || undefined, /^\/[\x21-\x7e]+$/,
    'use an absolute path, such as "/opt/authorities.pem" for a file of a layer');
  if (props.clientCertificateSecret) {
    validateSecretPlace(validation, 'clientCertificateSecret', props.clientCertificateSecret, owner);
  }
  if (props.functionUrl === false && props.cors) {
    validation.refuse('cors', 'set without a Function URL', 'leave out cors, or functionUrl');
  }
  if (props.invokeMode === lambda.InvokeMode.RESPONSE_STREAM && props.options?.lambda?.vpc) {
    validation.refuse('invokeMode', 'RESPONSE_STREAM',
      'Lambda does not stream responses from a function in a VPC: use BUFFERED, or leave out options.lambda.vpc');
  }
  validateFunctionOptions(validation, 'options.lambda', props.options?.lambda ?? {});
  validateConcurrency(validation, props.options?.lambda ?? {});
  validateWarmer(validation, props);
  validateArchitecture(validation, 'options.lambda.architecture', architectureOf(props));
  validateArchitecture(validation, 'options.warmer.architecture', props.options?.warmer?.architecture);
  if (!validation.failed) {
    validateEnvironmentSize(validation, props);
  }
  return validation.failed ? standIn(props) : props;
}

/** Props that resources can be made from, so that the construct has the same members as with those that were refused. */
function standIn(props: TailscaleLambdaProxyProps): TailscaleLambdaProxyProps {
  const { vpc, architecture } = props.options?.lambda ?? {};
  return {
    tsHostname: 'refused',
    functionUrl: props.functionUrl,
    options: {
      lambda: { vpc, architecture: architecture && isThere(architecture) ? architecture : undefined, alias: hasAlias(props) },
      warmer: props.options?.warmer && {},
    },
  };
}

function validateArchitecture(validation: Validation, prop: string, architecture: lambda.Architecture | undefined): void {
  if (architecture && !isThere(architecture)) {
    validation.refuse(prop, `"${architecture.name}"`, 'this package holds no binaries for it: use Architecture.X86_64 or Architecture.ARM_64 ' +
      '(or, in a checkout of the source, run "npx projen layers:build:all")');
  }
}

function isThere(architecture: lambda.Architecture): boolean {
  try {
    [Binary.EXTENSION, Binary.PROXY].forEach((binary) => assetPath(binary, architecture));
    return true;
  } catch {
    return false;
  }
}

/**
 * How many bytes the variables of a proxy have, and those of its profiles. Values that only the deployment knows take up room as
 * well, but how much is not known here.
 * @internal
 */
export function environmentBytes(props: TailscaleLambdaProxyProps, profiles: Record<string, string> = {}): number {
  const variables = Object.entries({ ...functionEnvironment(props), ...extensionEnvironment(props), ...profiles });
  return variables.map(([name, value]) => Buffer.byteLength(name) + (Token.isUnresolved(value) ? 0 : Buffer.byteLength(value)))
    .reduce((sum, size) => sum + size, 0);
}

function validateEnvironmentSize(validation: Validation, props: TailscaleLambdaProxyProps): void {
  const bytes = environmentBytes(props);
  if (bytes > ENVIRONMENT_BYTES) {
    validation.refuse('the environment', `${bytes} bytes long`,
      `Lambda has room for ${ENVIRONMENT_BYTES}: shorten caCertificates, allowedTargets or options.lambda.environment`);
  }
}

function validateConcurrency(validation: Validation, options: TailscaleLambdaProxyPropsLambdaOption): void {
  const { reservedConcurrentExecutions: reserved, provisionedConcurrentExecutions: provisioned } = options;
  const prop = 'options.lambda.provisionedConcurrentExecutions';
  validation.integer(prop, provisioned, 1, Infinity, 'environments');
  if (provisioned !== undefined && options.alias === false) {
    validation.refuse('options.lambda.alias', 'false', `${prop} needs the alias: leave it out, or set it to true`);
  }
  const known = !Token.isUnresolved(reserved) && !Token.isUnresolved(provisioned);
  if (known && reserved !== undefined && provisioned !== undefined && provisioned > reserved) {
    validation.refuse(prop, `${provisioned}`, `more than options.lambda.reservedConcurrentExecutions, which is ${reserved}, cannot be provisioned`);
  }
}
