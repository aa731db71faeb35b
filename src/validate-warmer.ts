// Checks a warmer's options at synth.
import { Duration, Token } from 'aws-cdk-lib';
import { validateFunctionOptions } from './function-validation';
import { WARM_BY_DEFAULT } from './proxy-warmer';
import { TailscaleLambdaProxyProps } from './tailscale-lambda-proxy-props';
import { DurationUnit, Validation } from './validation';

/**
 * Refuses options that cannot work, if a warmer is asked for.
 * @internal
 */
export function validateWarmer(validation: Validation, props: TailscaleLambdaProxyProps): void {
  const warmer = props.options?.warmer;
  if (!warmer) {
    return;
  }
  const { concurrentInvocations, interval } = warmer;
  validateFunctionOptions(validation, 'options.warmer', warmer);
  validation.integer('options.warmer.concurrentInvocations', concurrentInvocations, 1, 100, 'environments');
  if (interval && !interval.isUnresolved() && interval.toMilliseconds() % 60_000 !== 0) {
    validation.refuse('options.warmer.interval', interval.toHumanString(), 'use whole minutes');
  }
  validation.duration('options.warmer.interval', interval, Duration.minutes(1), Duration.minutes(60), DurationUnit.MINUTES);
  validateRoom(validation, concurrentInvocations ?? WARM_BY_DEFAULT, props.options?.lambda?.reservedConcurrentExecutions);
}

/** Warm-ups keep their environments busy: with no room left beside them, callers would be rejected meanwhile. */
function validateRoom(validation: Validation, invocations: number, reserved: number | undefined): void {
  if (reserved === undefined || Token.isUnresolved(reserved) || Token.isUnresolved(invocations) || invocations < reserved) {
    return;
  }
  if (reserved < 2) {
    validation.refuse('options.warmer', 'set', `with options.lambda.reservedConcurrentExecutions at ${reserved} warm-ups leave no ` +
      'environment for requests: reserve 2 or more, or leave out the warmer');
  } else {
    validation.refuse('options.warmer.concurrentInvocations', `${invocations}`,
      `use fewer than options.lambda.reservedConcurrentExecutions (${reserved}), or requests are rejected while warm-ups run`);
  }
}
