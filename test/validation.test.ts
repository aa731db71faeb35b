import { Duration, Lazy, Stack } from 'aws-cdk-lib';
import { problems } from './problems';
import { DurationUnit, Validation } from '../src/validation';

let stack: Stack;
let validation: Validation;

beforeEach(() => {
  stack = new Stack(undefined, 'Network');
  validation = new Validation(stack);
});

test('refuses a duration out of bounds, with both bounds', () => {
  const bounds = [Duration.millis(1), Duration.minutes(15)] as const;
  validation.duration('connectTimeout', Duration.millis(0), ...bounds);
  validation.duration('responseTimeout', Duration.minutes(16), ...bounds);
  validation.duration('metrics.interval', Duration.minutes(15), ...bounds);

  expect(problems(stack)).toEqual([
    expect.stringMatching(/connectTimeout is .*: use a duration from 1 milli to 15 minutes/),
    expect.stringContaining('responseTimeout is 16 minutes'),
  ]);
});

test('refuses a duration that only the deployment knows in a unit that cannot be rendered', () => {
  const number = Lazy.number({ produce: () => 3 });
  const bounds = [Duration.millis(1), Duration.minutes(15)] as const;
  validation.duration('connectTimeout', Duration.seconds(number), ...bounds);
  validation.duration('responseTimeout', Duration.millis(number), ...bounds);
  validation.duration('timeout', Duration.seconds(number), ...bounds, DurationUnit.SECONDS);

  expect(problems(stack)).toEqual([
    '[Network] connectTimeout is a number of seconds that only the deployment knows: it cannot be converted at synth: ' +
    'use Duration.millis() with a number of millis',
  ]);
});

test('says the same thing once', () => {
  validation.refuse('tsHostname', '""', 'name it');
  validation.refuse('tsHostname', '""', 'name it');

  expect(validation.failed).toBe(true);
  expect(problems(stack)).toEqual(['[Network] tsHostname is "": name it']);
});
