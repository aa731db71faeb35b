import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import * as ssm from 'aws-cdk-lib/aws-ssm';
import { makeFunction, statements } from './constructs';
import { grantParameter, grantSecret } from '../src/grant-secret';

const SECRET_ARN = 'arn:aws:secretsmanager:eu-west-1:111122223333:secret:tailscale-api-key-AbCdEf';
const KEY_ARN = 'arn:aws:kms:eu-west-1:111122223333:key/0d9c1b2a-1111-2222-3333-444455556666';

let app: App;
let stack: Stack;

beforeEach(() => {
  app = new App();
  stack = new Stack(app, 'Network', { env: { account: '111122223333', region: 'eu-west-1' } });
});

/** What a function may do that was granted the secret. */
function granted(secret: secretsmanager.ISecret): unknown[] {
  return allowed((fn) => grantSecret(secret, fn));
}

function allowed(grant: (fn: lambda.Function) => void): unknown[] {
  grant(makeFunction(stack, 'Fn'));
  return statements(stack);
}

const read = (arn: unknown) => ({ Effect: 'Allow', Action: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'], Resource: arn });
const decrypt = (arn: unknown) => ({
  Effect: 'Allow',
  Action: 'kms:Decrypt',
  Resource: arn,
  Condition: { StringEquals: { 'kms:ViaService': 'secretsmanager.eu-west-1.amazonaws.com' } },
});

test('a secret without a key of its own is read, and nothing decrypted', () => {
  expect(granted(secretsmanager.Secret.fromSecretCompleteArn(stack, 'Secret', SECRET_ARN))).toEqual([read(SECRET_ARN)]);
});

test('a key of the same stack decrypts for the function, and lets it', () => {
  const key = new kms.Key(stack, 'Key');
  const secret = new secretsmanager.Secret(stack, 'Secret', { encryptionKey: key });

  expect(granted(secret)).toEqual([read(stack.resolve(secret.secretArn)), decrypt(stack.resolve(key.keyArn))]);
  Template.fromStack(stack).hasResourceProperties('AWS::KMS::Key', {
    KeyPolicy: {
      Statement: Match.arrayWith([
        Match.objectLike({ Action: 'kms:Decrypt', Principal: { AWS: { 'Fn::GetAtt': [Match.stringLikeRegexp('FnServiceRole'), 'Arn'] } } }),
      ]),
    },
  });
});

test('an imported key decrypts for the function', () => {
  const secret = secretsmanager.Secret.fromSecretAttributes(stack, 'Secret', {
    secretCompleteArn: SECRET_ARN, encryptionKey: kms.Key.fromKeyArn(stack, 'Key', KEY_ARN),
  });

  expect(granted(secret)).toEqual([read(SECRET_ARN), decrypt(KEY_ARN)]);
});

describe('a parameter', () => {
  const parameterName = '/tailscale/auth-key';
  const arn = { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':ssm:eu-west-1:111122223333:parameter/tailscale/auth-key']] };
  const get = { Effect: 'Allow', Action: 'ssm:GetParameter', Resource: arn };

  test('is read alone, not its history', () => {
    const parameter = ssm.StringParameter.fromSecureStringParameterAttributes(stack, 'Parameter', { parameterName });

    expect(allowed((fn) => grantParameter(parameter, fn))).toEqual([get]);
  });

  test('with a key of its own is decrypted', () => {
    const encryptionKey = kms.Key.fromKeyArn(stack, 'Key', KEY_ARN);
    const parameter = ssm.StringParameter.fromSecureStringParameterAttributes(stack, 'Parameter', { parameterName, encryptionKey });
    const viaSystemsManager = { StringEquals: { 'kms:ViaService': 'ssm.eu-west-1.amazonaws.com' } };

    expect(allowed((fn) => grantParameter(parameter, fn))).toEqual([get, { ...decrypt(KEY_ARN), Condition: viaSystemsManager }]);
  });
});

describe('of another stack', () => {
  let secrets: Stack;

  beforeEach(() => {
    secrets = new Stack(app, 'Secrets', { env: { account: '111122223333', region: 'eu-west-1' } });
  });

  /** How the stack of the function refers to a resource of the other. */
  const imported = (output: string) => ({ 'Fn::ImportValue': expect.stringMatching(`^Secrets:ExportsOutput.*${output}`) });

  test('a secret is read', () => {
    expect(granted(new secretsmanager.Secret(secrets, 'Secret'))).toEqual([read(imported('RefSecret'))]);
  });

  test('a secret with a key of its own is read and decrypted, and the stacks do not depend on each other', () => {
    const secret = new secretsmanager.Secret(secrets, 'Secret', { encryptionKey: new kms.Key(secrets, 'Key') });

    expect(granted(secret)).toEqual([read(imported('RefSecret')), decrypt(imported('Key'))]);
    expect(stack.dependencies).toEqual([secrets]);
    expect(secrets.dependencies).toEqual([]);
  });

  test('an imported secret without a suffix is read with any', () => {
    const secret = secretsmanager.Secret.fromSecretAttributes(secrets, 'Secret', {
      secretPartialArn: SECRET_ARN.replace('-AbCdEf', ''), encryptionKey: kms.Key.fromKeyArn(secrets, 'Key', KEY_ARN),
    });

    expect(granted(secret)).toEqual([read(SECRET_ARN.replace('-AbCdEf', '-??????')), decrypt(KEY_ARN)]);
  });
});
