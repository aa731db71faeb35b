// What of a warmer's options can be known to be wrong at synth.
import { Duration, Token } from 'aws-cdk-lib';
import { WARM_BY_DEFAULT } from './proxy-warmer';
import { TailscaleLambdaProxyProps } from './tailscale-lambda-proxy-props';
import { Validation } from './validation';

/**
 * Refuses options that cannot work, if a warmer is asked for.
 * @internal
 */
export function validateWarmer(validation: Validation, props: TailscaleLambdaProxyProps): void {
  const warmer = props.options?.warmer;
  if (!warmer) {
    return;
  }
  const { functionName, concurrentInvocations, interval } = warmer;
  validation.functionName('options.warmer.functionName', functionName || undefined);
  validation.integer('options.warmer.concurrentInvocations', concurrentInvocations, 1, 100, 'environments');
  if (interval && !interval.isUnresolved() && interval.toMilliseconds() % 60_000 !== 0) {
    validation.refuse('options.warmer.interval', interval.toHumanString(), 'use whole minutes');
  }
  validation.duration('options.warmer.interval', interval, Duration.minutes(1), Duration.minutes(60));
  validateRoom(validation, concurrentInvocations ?? WARM_BY_DEFAULT, props.options?.lambda?.reservedConcurrentExecutions);
}

/** Warm-ups keep their environments busy: with no room left beside them, callers would be turned away meanwhile. */
function validateRoom(validation: Validation, invocations: number, reserved: number | undefined): void {
  if (reserved === undefined || Token.isUnresolved(reserved) || Token.isUnresolved(invocations) || invocations < reserved) {
    return;
  }
  validation.refuse('options.warmer.concurrentInvocations', `${invocations}`,
    `use fewer than options.lambda.reservedConcurrentExecutions (${reserved}), or requests are turned away while warm-ups run`);
}
