// Checks the Lambda options of the proxy's function and of its warmer at synth.
import { Duration } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Variable } from './environment';
import { LONGEST_TIMEOUT } from './lambda-function';
import { DurationUnit, Validation } from './validation';

/** Options that do not work with the binaries, and why. */
const NOT_SUPPORTED: Partial<Record<keyof lambda.FunctionOptions, string>> = {
  snapStart: 'Lambda has no SnapStart for the runtime provided.al2023, and environments must not share one machine of the tailnet: leave it out',
  events: 'the function understands requests of its Function URL and warm-ups only: leave it out',
  paramsAndSecrets: 'the function never asks that extension, and its own extension reads the secret: leave it out',
  profiling: 'Amazon CodeGuru cannot profile native programs: leave it out',
  profilingGroup: 'Amazon CodeGuru cannot profile native programs: leave it out',
};

/**
 * Refuses options that cannot work.
 * @internal
 */
export function validateFunctionOptions(validation: Validation, prefix: string, options: lambda.FunctionOptions): void {
  const prop = (name: keyof lambda.FunctionOptions) => `${prefix}.${name}`;
  validation.functionName(prop('functionName'), options.functionName || undefined);
  validation.text(prop('description'), options.description, /^[^]{0,256}$/, 'use 256 characters at most');
  validation.integer(prop('memorySize'), options.memorySize, 128, 10_240, 'MB');
  validation.duration(prop('timeout'), options.timeout, Duration.seconds(1), LONGEST_TIMEOUT, DurationUnit.SECONDS);
  validation.duration(prop('maxEventAge'), options.maxEventAge, Duration.seconds(60), Duration.hours(6), DurationUnit.SECONDS);
  validation.integer(prop('retryAttempts'), options.retryAttempts, 0, 2, 'retries');
  validation.integer(prop('reservedConcurrentExecutions'), options.reservedConcurrentExecutions, 0, Infinity, 'environments');
  for (const name of ['vpcSubnets', 'securityGroups'] as const) {
    if (options[name] && !options.vpc) {
      validation.refuse(prop(name), 'set without a VPC', `name the VPC with ${prop('vpc')} as well`);
    }
  }
  for (const name of ['logRetention', 'logRemovalPolicy'] as const) {
    if (options[name] !== undefined && options.logGroup) {
      validation.refuse(prop(name), `set beside ${prop('logGroup')}`, 'set it on that log group instead');
    }
  }
  for (const [name, reason] of Object.entries(NOT_SUPPORTED)) {
    if (options[name as keyof lambda.FunctionOptions]) {
      validation.refuse(`${prefix}.${name}`, 'set', reason);
    }
  }
  validateNames(validation, prop('environment'), Object.keys(options.environment ?? {}));
}

function validateNames(validation: Validation, prop: string, names: string[]): void {
  for (const name of names) {
    if (!/^[A-Za-z][A-Za-z0-9_]+$/.test(name)) {
      validation.refuse(prop, `one that has "${name}"`, 'use names of letters, digits and underscores, with a letter first');
    }
    if (Object.values<string>(Variable).includes(name)) {
      validation.refuse(prop, `one that has "${name}"`, 'use the prop of the construct that sets this variable');
    }
  }
}
