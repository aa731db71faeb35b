import { Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import * as ssm from 'aws-cdk-lib/aws-ssm';
import { warn, Warning } from './warnings';

/**
 * Lets a function read a secret, and decrypt it if it has a key of its own.
 *
 * `Secret.grantRead` adds the permission to decrypt to the key's policy only. It cannot do that for an imported key, and for a
 * key of another stack it would make the two stacks depend on each other. So the function's role is granted it as well.
 * @internal
 */
export function grantSecret(secret: secretsmanager.ISecret, fn: lambda.Function): void {
  const key = secret.encryptionKey;
  if (key && Stack.of(key) !== Stack.of(fn)) {
    fn.addToRolePolicy(new iam.PolicyStatement({
      actions: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
      // An ARN without the suffix that Secrets Manager gave it is that of any suffix.
      resources: [secret.secretFullArn ?? `${secret.secretArn}-??????`],
    }));
  } else {
    secret.grantRead(fn);
  }
  if (key) {
    allowDecryption(fn, key, `secretsmanager.${secret.env.region}.amazonaws.com`);
  }
  warnOfImmutableRole(fn, 'secretsmanager:GetSecretValue for the secret, kms:Decrypt if that has a key of its own');
}

/**
 * Lets a function read a parameter, and decrypt it if it has a key of its own: not its history, as `grantRead` does.
 * @internal
 */
export function grantParameter(parameter: ssm.IStringParameter, fn: lambda.Function): void {
  fn.addToRolePolicy(new iam.PolicyStatement({ actions: ['ssm:GetParameter'], resources: [parameter.parameterArn] }));
  // Imports have it; the interface does not tell of it.
  const { encryptionKey } = parameter as { encryptionKey?: kms.IKey };
  if (encryptionKey) {
    allowDecryption(fn, encryptionKey, `ssm.${Stack.of(fn).region}.amazonaws.com`);
  }
  warnOfImmutableRole(fn, 'ssm:GetParameter for the parameter, kms:Decrypt if that has a key of its own');
}

function allowDecryption(fn: lambda.Function, key: kms.IKey, service: string): void {
  fn.addToRolePolicy(new iam.PolicyStatement({
    actions: ['kms:Decrypt'],
    resources: [key.keyArn],
    conditions: { StringEquals: { 'kms:ViaService': service } },
  }));
}

/**
 * A role that the app may not change takes every grant, and ignores it: https://docs.aws.amazon.com/cdk/v2/guide/permissions.html.
 * @internal
 */
export function warnOfImmutableRole(fn: lambda.Function, permissions: string): void {
  if (fn.role && !fn.role.node.findAll().some((child) => child instanceof iam.CfnPolicy)) {
    warn(fn, Warning.IMMUTABLE_ROLE, `the role ${fn.role.node.path} cannot be changed by this app. It must bring the permissions ` +
      `${permissions} and, for a proxy, cloudwatch:PutMetricData.`);
  }
}
