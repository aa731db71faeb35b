// Where the secret is, and by what the function asks for it.
import { App, CfnParameter, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { makeProxy as proxyOf, problems, variablesOf, warnings } from './constructs';
import { TailscaleLambdaProxy } from '../src';

const ENV = { account: '111122223333', region: 'eu-west-1' };
const arn = (name: string, { account, region } = ENV) => `arn:aws:secretsmanager:${region}:${account}:secret:${name}`;

let app: App;
let stack: Stack;

beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Network', { env: ENV });
});

const makeProxy = (tsAuthKeySecret: secretsmanager.ISecret, under = stack) => proxyOf(under, { tsAuthKeySecret });

/** What the function asks Secrets Manager for. */
const asked = (proxy: TailscaleLambdaProxy) => variablesOf(proxy.lambda).TS_SECRET_API_KEY;

test.each(['tailscale-secret', 'ts-apikey', 'a/b-AbCdEf'])('%s, which reads like a complete ARN\'s end, is asked for by its name, and is granted', (name) => {
  const proxy = makeProxy(secretsmanager.Secret.fromSecretNameV2(stack, 'Secret', name));

  expect(asked(proxy)).toBe(name);
  expect(problems(stack)).toEqual([]);
  expect(JSON.stringify(Template.fromStack(stack).findResources('AWS::IAM::Policy'))).toContain(`:secret:${name}-??????`);
});

test('a partial ARN that ends so is asked for by its name as well', () => {
  expect(asked(makeProxy(secretsmanager.Secret.fromSecretPartialArn(stack, 'Secret', arn('tailscale-secret'))))).toBe('tailscale-secret');
});

test('a name that only the deployment knows may end so', () => {
  const name = new CfnParameter(stack, 'Name').valueAsString;

  expect(asked(makeProxy(secretsmanager.Secret.fromSecretNameV2(stack, 'Secret', name)))).toEqual({ Ref: 'Name' });
});

test.each<[string, (scope: Stack) => secretsmanager.ISecret, unknown]>([
  ['a complete ARN', (scope) => secretsmanager.Secret.fromSecretCompleteArn(scope, 'Secret', arn('tailscale-secret-AbCdEf')), arn('tailscale-secret-AbCdEf')],
  ['another partial ARN', (scope) => secretsmanager.Secret.fromSecretPartialArn(scope, 'Secret', arn('tailscale-api-key')), arn('tailscale-api-key')],
  ['a secret of the app', (scope) => new secretsmanager.Secret(scope, 'Secret', { secretName: 'tailscale-secret' }), { Ref: expect.stringMatching('^Secret') }],
])('%s is asked for as it is', (_, make, expected) => {
  expect(asked(makeProxy(make(stack)))).toEqual(expected);
});

describe('another region', () => {
  const elsewhere = { ...ENV, region: 'us-east-1' };
  const refusal = '[Network/Proxy] tsAuthKeySecret is a secret in us-east-1: the function runs in eu-west-1: import the secret by its complete ARN ' +
    '(Secret.fromSecretCompleteArn), or replicate it to eu-west-1, and import the replica';

  test.each<[string, () => secretsmanager.ISecret]>([
    ['its complete ARN', () => secretsmanager.Secret.fromSecretCompleteArn(stack, 'Secret', arn('key-AbCdEf', elsewhere))],
    ['a partial ARN that does not read like a complete one', () => secretsmanager.Secret.fromSecretPartialArn(stack, 'Secret', arn('api-key', elsewhere))],
  ])('is read there by %s', (_, make) => {
    const secret = make();

    expect(asked(makeProxy(secret))).toBe(secret.secretArn);
    expect(problems(stack)).toEqual([]);
  });

  test('is decrypted there', () => {
    const encryptionKey = kms.Key.fromKeyArn(stack, 'Key', 'arn:aws:kms:us-east-1:111122223333:key/0d9c1b2a-1111-2222-3333-444455556666');
    makeProxy(secretsmanager.Secret.fromSecretAttributes(stack, 'Secret', { secretCompleteArn: arn('key-AbCdEf', elsewhere), encryptionKey }));

    expect(JSON.stringify(Template.fromStack(stack).findResources('AWS::IAM::Policy'))).toContain('"kms:ViaService":"secretsmanager.us-east-1.amazonaws.com"');
  });

  test.each<[string, () => secretsmanager.ISecret]>([
    ['a partial ARN that is asked for by its name', () => secretsmanager.Secret.fromSecretPartialArn(stack, 'Secret', arn('tailscale-secret', elsewhere))],
    ['of the app', () => new secretsmanager.Secret(new Stack(app, 'Secrets', { env: { ...ENV, region: 'us-east-1' }, crossRegionReferences: true }), 'Secret')],
  ])('is refused: %s', (_, make) => {
    makeProxy(make());

    expect(problems(stack)).toEqual([refusal]);
  });

  test('is not known in a stack that is for any', () => {
    const any = new Stack(app, 'Any');
    makeProxy(secretsmanager.Secret.fromSecretCompleteArn(any, 'Secret', arn('key-AbCdEf')), any);

    expect(problems(any)).toEqual([]);
  });
});

describe('another account', () => {
  const other = { ...ENV, account: '444455556666' };
  const key = () => kms.Key.fromKeyArn(stack, 'Key', 'arn:aws:kms:eu-west-1:444455556666:key/0d9c1b2a-1111-2222-3333-444455556666');

  test('is fine with the complete ARN and the key', () => {
    makeProxy(secretsmanager.Secret.fromSecretAttributes(stack, 'Secret', { secretCompleteArn: arn('key-AbCdEf', other), encryptionKey: key() }));

    expect(problems(stack)).toEqual([]);
    expect(warnings(stack)).toEqual([]);
  });

  test('without the key is warned of', () => {
    makeProxy(secretsmanager.Secret.fromSecretCompleteArn(stack, 'Secret', arn('key-AbCdEf', other)));

    expect(warnings(stack)).toEqual([
      expect.stringMatching(/^\/Network\/Proxy tsAuthKeySecret is a secret of account 444455556666, imported without its KMS key.*:secretOfOtherAccount\]$/),
    ]);
  });

  test.each<[string, () => secretsmanager.ISecret]>([
    ['without the complete ARN', () => secretsmanager.Secret.fromSecretPartialArn(stack, 'Secret', arn('tailscale-api-key', other))],
    ['of the app, with a key', () => {
      const secrets = new Stack(app, 'Secrets', { env: other });
      return new secretsmanager.Secret(secrets, 'Secret', { encryptionKey: new kms.Key(secrets, 'Key') });
    }],
  ])('is refused %s', (_, make) => {
    makeProxy(make());

    expect(problems(stack)).toEqual([
      expect.stringMatching(/^\[Network\/Proxy\] tsAuthKeySecret is a secret of account 444455556666: the function runs in account 111122223333: import the secret with its complete ARN and its KMS key/),
    ]);
  });
});

test('a client certificate of another region, which has no ARN to be read by yet, is refused under its own name', () => {
  const elsewhere = new Stack(app, 'Elsewhere', { env: { ...ENV, region: 'us-east-1' }, crossRegionReferences: true });
  proxyOf(stack, { clientCertificateSecret: new secretsmanager.Secret(elsewhere, 'Mtls') });

  expect(problems(stack)).toEqual([expect.stringContaining('clientCertificateSecret is a secret in us-east-1')]);
});
