import { Duration, Stack } from 'aws-cdk-lib';
import { Validation } from '../src/validation';

const validation = new Validation(new Stack(undefined, 'Network'));

test('refuses a duration out of bounds, with both bounds', () => {
  const within = (value: Duration) => () => validation.duration('connectTimeout', value, Duration.millis(1), Duration.minutes(15));

  expect(within(Duration.millis(0))).toThrow(/connectTimeout is .*: use a duration from 1 milli to 15 minutes/);
  expect(within(Duration.minutes(16))).toThrow('connectTimeout is 16 minutes');
  expect(within(Duration.minutes(15))).not.toThrow();
});
