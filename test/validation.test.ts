import { Duration, Lazy, Stack } from 'aws-cdk-lib';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { TailscaleNodeOptions } from '../src';
import { Validation } from '../src/validation';

const stack = new Stack(undefined, 'Network');
const secret = secretsmanager.Secret.fromSecretNameV2(stack, 'Secret', 'tailscale-api-key');

function check(options: Partial<TailscaleNodeOptions>): void {
  new Validation(stack).node({ tsSecretApiKey: secret, tsHostname: 'lambda-proxy', ...options });
}

test.each<[Partial<TailscaleNodeOptions>, string]>([
  [{ tsHostname: '' }, 'tsHostname is "": use 1 to 63 letters'],
  [{ tsHostname: 'my machine' }, 'tsHostname is "my machine": use 1 to 63 letters'],
  [{ tsHostname: '-proxy' }, 'tsHostname is "-proxy": use 1 to 63 letters'],
  [{ tsHostname: 'proxy-' }, 'tsHostname is "proxy-": use 1 to 63 letters'],
  [{ tsHostname: 'x'.repeat(64) }, `tsHostname is "${'x'.repeat(64)}": use 1 to 63 letters`],
  [{ tsAdvertiseTags: 'lambda' }, 'tsAdvertiseTags is "lambda": write tags'],
  [{ tsAdvertiseTags: 'tag:a,' }, 'tsAdvertiseTags is "tag:a,": write tags'],
  [{ tsExitNode: 'two words' }, 'tsExitNode is "two words": use the exit node\'s tailnet address'],
  [{ tsExitNodeRequired: true }, 'tsExitNodeRequired is true: name the exit node with tsExitNode'],
  [{ tsExitNodePingTimeout: 0 }, 'tsExitNodePingTimeout is 0: use a whole number of milliseconds from 1 to 60000'],
  [{ tsExitNodePingTimeout: 1.5 }, 'tsExitNodePingTimeout is 1.5: use a whole number of milliseconds'],
  [{ tsExitNodePingRetries: 101 }, 'tsExitNodePingRetries is 101: use a whole number of pings from 1 to 100'],
  [{ tsControlUrl: 'headscale.example.com' }, 'tsControlUrl is "headscale.example.com": use the control server\'s address'],
])('refuses %j, with the prop, the value and the remedy', (options, message) => {
  expect(() => check(options)).toThrow(`Network: ${message}`);
});

test.each<Partial<TailscaleNodeOptions>>([
  { tsHostname: 'x' },
  { tsHostname: 'Lambda-7' },
  { tsHostname: 'x'.repeat(63) },
  { tsAdvertiseTags: 'tag:lambda' },
  { tsAdvertiseTags: 'tag:lambda, tag:prod' },
  { tsAdvertiseTags: '', tsExitNode: '', tsControlUrl: '' },
  { tsExitNode: 'fd7a:115c:a1e0::7', tsExitNodeRequired: true, tsExitNodePingTimeout: 2000, tsExitNodePingRetries: 10 },
  { tsControlUrl: 'http://192.0.2.2:8080' },
])('accepts %j', (options) => {
  expect(() => check(options)).not.toThrow();
});

test('lets a value pass that only the deployment knows', () => {
  const token = Lazy.string({ produce: () => 'not known yet' });

  expect(() => check({ tsHostname: token, tsAdvertiseTags: token, tsExitNode: token, tsControlUrl: token })).not.toThrow();
  expect(() => check({ tsExitNodePingRetries: Lazy.number({ produce: () => 5 }) })).not.toThrow();
});

test('refuses a duration out of bounds, with both bounds', () => {
  const validation = new Validation(stack);
  const within = (value: Duration) => () => validation.duration('connectTimeout', value, Duration.millis(1), Duration.minutes(15));

  expect(within(Duration.millis(0))).toThrow(/connectTimeout is .*: use a duration from 1 milli to 15 minutes/);
  expect(within(Duration.minutes(16))).toThrow('connectTimeout is 16 minutes');
  expect(within(Duration.minutes(15))).not.toThrow();
});
