// What of a proxy's props can be known to be wrong at synth.
import { Duration, Token } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { assetPath, Binary } from './binaries';
import { extensionEnvironment, Variable } from './environment';
import { architectureOf, functionEnvironment, LONGEST_TIMEOUT } from './proxy-function';
import { TailscaleLambdaProxyPropsLambdaOption } from './tailscale-lambda-proxy-lambda-option';
import { TailscaleLambdaProxyProps } from './tailscale-lambda-proxy-props';
import { validateNode } from './validate-node';
import { validateWarmer } from './validate-warmer';
import { Validation } from './validation';

/** Room for the names and values of all variables: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html. */
const ENVIRONMENT_BYTES = 4096;

/**
 * Refuses props that cannot work, before the first resource is made.
 * @internal
 */
export function validateProxy(owner: Construct, props: TailscaleLambdaProxyProps): void {
  const validation = new Validation(owner);
  validateNode(validation, props);
  validation.duration('connectTimeout', props.connectTimeout, Duration.millis(1), LONGEST_TIMEOUT);
  validation.duration('responseTimeout', props.responseTimeout, Duration.millis(1), LONGEST_TIMEOUT);
  validation.duration('cors.maxAge', props.cors?.maxAge, Duration.seconds(0), Duration.days(1));
  validation.duration('metrics.interval', props.metrics?.interval, Duration.millis(0), LONGEST_TIMEOUT);
  validation.duration('metrics.budget', props.metrics?.budget, Duration.millis(1), LONGEST_TIMEOUT);
  validation.targets('allowedTargets', props.allowedTargets);
  validation.certificates('caCertificates', props.caCertificates || undefined, 3_000);
  validateFunction(validation, props.options?.lambda ?? {});
  validateEnvironmentSize(validation, props);
  validateWarmer(validation, props);
  [Binary.EXTENSION, Binary.PROXY].forEach((binary) => assetPath(binary, architectureOf(props)));
  if (props.invokeMode === lambda.InvokeMode.RESPONSE_STREAM && props.options?.lambda?.vpc) {
    validation.refuse('invokeMode', 'RESPONSE_STREAM',
      'Lambda streams no answers from a function in a VPC: use BUFFERED, or leave out options.lambda.vpc');
  }
}

function validateFunction(validation: Validation, options: TailscaleLambdaProxyPropsLambdaOption): void {
  const prop = (name: keyof TailscaleLambdaProxyPropsLambdaOption) => `options.lambda.${name}`;
  validation.functionName(prop('functionName'), options.functionName || undefined);
  validation.text(prop('description'), options.description, /^[^]{0,256}$/, 'use 256 characters at most');
  validation.integer(prop('memorySize'), options.memorySize, 128, 10_240, 'MB');
  validation.duration(prop('timeout'), options.timeout, Duration.seconds(1), LONGEST_TIMEOUT);
  if (options.vpcSubnets && !options.vpc) {
    validation.refuse(prop('vpcSubnets'), 'set without a VPC', `name the VPC with ${prop('vpc')} as well`);
  }
  if (options.securityGroups && !options.vpc) {
    validation.refuse(prop('securityGroups'), 'set without a VPC', `name the VPC with ${prop('vpc')} as well`);
  }
  validateConcurrency(validation, options);
  for (const name of Object.keys(options.environment ?? {})) {
    if (!/^[A-Za-z][A-Za-z0-9_]+$/.test(name)) {
      validation.refuse(prop('environment'), `one that has "${name}"`, 'use names of letters, digits and underscores, with a letter first');
    }
    if (Object.values<string>(Variable).includes(name)) {
      validation.refuse(prop('environment'), `one that has "${name}"`, 'use the prop of the construct that sets this variable');
    }
  }
}

/** What only the deployment knows takes room as well, but how much is not known here. */
function validateEnvironmentSize(validation: Validation, props: TailscaleLambdaProxyProps): void {
  const variables = Object.entries({ ...functionEnvironment(props), ...extensionEnvironment(props) });
  const bytes = variables.map(([name, value]) => Buffer.byteLength(name) + (Token.isUnresolved(value) ? 0 : Buffer.byteLength(value)))
    .reduce((sum, size) => sum + size, 0);
  if (bytes > ENVIRONMENT_BYTES) {
    validation.refuse('the environment', `${bytes} bytes long`,
      `Lambda has room for ${ENVIRONMENT_BYTES}: shorten caCertificates, allowedTargets or options.lambda.environment`);
  }
}

function validateConcurrency(validation: Validation, options: TailscaleLambdaProxyPropsLambdaOption): void {
  const { reservedConcurrentExecutions: reserved, provisionedConcurrentExecutions: provisioned } = options;
  validation.integer('options.lambda.reservedConcurrentExecutions', reserved, 0, Infinity, 'environments');
  validation.integer('options.lambda.provisionedConcurrentExecutions', provisioned, 1, Infinity, 'environments');
  const known = !Token.isUnresolved(reserved) && !Token.isUnresolved(provisioned);
  if (known && reserved !== undefined && provisioned !== undefined && provisioned > reserved) {
    validation.refuse('options.lambda.provisionedConcurrentExecutions', `${provisioned}`,
      `more than options.lambda.reservedConcurrentExecutions, which is ${reserved}, cannot be provisioned`);
  }
}
