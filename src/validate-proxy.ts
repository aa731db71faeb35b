// What of a proxy's props can be known to be wrong at synth.
import { Duration, Token } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { assetPath, Binary } from './binaries';
import { Variable } from './environment';
import { architectureOf, LONGEST_TIMEOUT } from './proxy-function';
import { TailscaleLambdaProxyPropsLambdaOption } from './tailscale-lambda-proxy-lambda-option';
import { TailscaleLambdaProxyProps } from './tailscale-lambda-proxy-props';
import { validateNode } from './validate-node';
import { Validation } from './validation';

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
  validation.targets('allowedTargets', props.allowedTargets);
  validation.certificates('caCertificates', props.caCertificates || undefined, 3_000);
  validateFunction(validation, props.options?.lambda ?? {});
  [Binary.EXTENSION, Binary.PROXY].forEach((binary) => assetPath(binary, architectureOf(props)));
  if (props.invokeMode === lambda.InvokeMode.RESPONSE_STREAM && props.options?.lambda?.vpc) {
    validation.refuse('invokeMode', 'RESPONSE_STREAM',
      'Lambda streams no answers from a function in a VPC: use BUFFERED, or leave out options.lambda.vpc');
  }
}

function validateFunction(validation: Validation, options: TailscaleLambdaProxyPropsLambdaOption): void {
  const prop = (name: keyof TailscaleLambdaProxyPropsLambdaOption) => `options.lambda.${name}`;
  validation.text(prop('functionName'), options.functionName, /^[A-Za-z0-9_-]{1,64}$/,
    'use 1 to 64 letters, digits, hyphens and underscores');
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
  const own = new Set<string>(Object.values(Variable));
  for (const name of Object.keys(options.environment ?? {}).filter((key) => own.has(key))) {
    validation.refuse(prop('environment'), `one that has ${name}`, 'use the prop of the construct that sets this variable');
  }
}

function validateConcurrency(validation: Validation, options: TailscaleLambdaProxyPropsLambdaOption): void {
  const { reservedConcurrentExecutions: reserved, provisionedConcurrentExecutions: provisioned } = options;
  const most = Number.isInteger(reserved) && !Token.isUnresolved(reserved) ? reserved! : Number.MAX_SAFE_INTEGER;
  validation.integer('options.lambda.reservedConcurrentExecutions', reserved, 0, Number.MAX_SAFE_INTEGER, 'environments');
  validation.integer('options.lambda.provisionedConcurrentExecutions', provisioned, 1, most, 'environments');
}
