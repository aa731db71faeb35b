// What is known at synth of the secret that holds the key: where it is, and, if the app itself says so
// (`secretStringValue`, `secretObjectValue`), what it holds. The text itself is never shown.
import { CfnResource, Resource, Stack, Token, TokenComparison } from 'aws-cdk-lib';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { IConstruct } from 'constructs';
import { TailscaleNodeOptions } from './tailscale-node-options';
import { Validation } from './validation';
import { warn, Warning } from './warnings';

/**
 * The secret's text, if the template will hold it.
 * @internal
 */
export function knownText(secret: secretsmanager.ISecret): string | undefined {
  const resource = secret.node.defaultChild;
  if (!resource || !CfnResource.isCfnResource(resource) || resource.cfnResourceType !== secretsmanager.CfnSecret.CFN_RESOURCE_TYPE_NAME) {
    return undefined;
  }
  const text = Stack.of(resource).resolve((resource as secretsmanager.CfnSecret).secretString);
  // CloudFormation puts something else in the place of a dynamic reference.
  return typeof text === 'string' && !text.includes('{{resolve:') ? text.trim() : undefined;
}

/**
 * The text in one field of a text that is a JSON object, if it is and has one.
 * @internal
 */
export function fieldOf(text: string, field: string): string | undefined {
  try {
    const value = JSON.parse(text)?.[field];
    return typeof value === 'string' ? value.trim() : undefined;
  } catch {
    // Not JSON. The parser's own words would show a piece of the secret.
    return undefined;
  }
}

/**
 * The secret that holds the key, under whichever name it was given.
 * @internal
 */
export function secretOf(options: TailscaleNodeOptions): secretsmanager.ISecret | undefined {
  return options.tsAuthKeySecret ?? options.tsSecretApiKey;
}

/**
 * What Secrets Manager finds the secret by. It takes a partial ARN that ends in a hyphen and six characters for a complete
 * one, and then finds nothing: such a secret is asked for by its name.
 * https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html#ARN_secretnamehyphen
 * @internal
 */
export function secretId(secret: secretsmanager.ISecret): string {
  const name = nameOf(secret);
  const readsLikeCompleteArn = secret.secretFullArn === undefined && (Token.isUnresolved(name) || /-[A-Za-z0-9]{6}$/.test(name));
  return readsLikeCompleteArn ? name : secret.secretArn;
}

/** The secret's name: of an import by its partial ARN, `secretName` lacks what reads like the suffix. */
function nameOf(secret: secretsmanager.ISecret): string {
  return Token.isUnresolved(secret.secretArn) ? secret.secretName : secret.secretArn.split(':').slice(6).join(':') || secret.secretName;
}

/**
 * Refuses a secret that the function cannot read, as far as its region and account are known.
 * @internal
 */
export function validateSecretPlace(validation: Validation, secret: secretsmanager.ISecret, fn: IConstruct): void {
  const { region, account } = Stack.of(fn);
  const isElsewhere = Token.compareStrings(secret.env.region, region) === TokenComparison.DIFFERENT;
  // The extension reads a secret in the region of its ARN.
  if (isElsewhere && (Resource.isOwnedResource(secret) || Token.isUnresolved(secret.secretArn) || secretId(secret) !== secret.secretArn)) {
    validation.refuse('tsAuthKeySecret', `a secret in ${secret.env.region}`, `the function runs in ${region}: import the secret by its complete ` +
      `ARN (Secret.fromSecretCompleteArn), or replicate it to ${region}, and import the replica`);
  }
  if (Token.compareStrings(secret.env.account, account) !== TokenComparison.DIFFERENT) {
    return;
  }
  const owner = `a secret of account ${secret.env.account}`;
  if (Resource.isOwnedResource(secret) || secret.secretFullArn === undefined) {
    validation.refuse('tsAuthKeySecret', owner, `the function runs in account ${account}: import the secret with its complete ARN ` +
      'and its KMS key (Secret.fromSecretAttributes with secretCompleteArn and encryptionKey)');
  } else if (secret.encryptionKey === undefined) {
    warn(fn, Warning.SECRET_OF_OTHER_ACCOUNT, `tsAuthKeySecret is ${owner}, imported without its KMS key: only a secret with a ` +
      'customer managed key can be read from another account. Import it with encryptionKey (Secret.fromSecretAttributes), and allow ' +
      'the function\'s role in the policies of the secret and of the key.');
  }
}
