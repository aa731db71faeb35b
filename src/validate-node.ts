// Checks at synth how a function joins its tailnet.
import { Resource, Stack, Token, TokenComparison } from 'aws-cdk-lib';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import * as ssm from 'aws-cdk-lib/aws-ssm';
import { IConstruct } from 'constructs';
import { fieldOf, knownText, secretOf, validateSecretPlace } from './secret-validation';
import { TailscaleNodeOptions } from './tailscale-node-options';
import { Validation } from './validation';
import { validateWorkloadIdentity } from './workload-identity';

/**
 * Refuses options that cannot work. An empty text counts as unset, except for a required prop.
 * @internal
 */
export function validateNode(validation: Validation, options: TailscaleNodeOptions, fn: IConstruct): void {
  const hostname = /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$/;
  validation.text('tsHostname', options.tsHostname, hostname, 'use 1 to 63 letters, digits and hyphens, with no hyphen first or last');
  validation.text('tsAdvertiseTags', options.tsAdvertiseTags || undefined, /^\s*tag:[^,\s]+\s*(,\s*tag:[^,\s]+\s*)*$/,
    'write tags separated by commas, each beginning with "tag:", such as "tag:lambda,tag:prod"');
  validation.text('tsControlUrl', options.tsControlUrl || undefined, /^https?:\/\/[^/\s]+\S*$/,
    'use the control server\'s address, such as "https://headscale.example.com"');
  validateExitNode(validation, options);
  validateOneCredential(validation, options);
  const secret = secretOf(options);
  if (secret) {
    validateSecretPlace(validation, secret, fn);
    validateSecretText(validation, secret, options);
  }
  if (options.tsAuthKeyParameter) {
    validateParameter(validation, options.tsAuthKeyParameter, fn);
  }
  if (options.tsWorkloadIdentity) {
    validateWorkloadIdentity(validation, options.tsWorkloadIdentity);
    validateBesideWorkloadIdentity(validation, options);
  }
}

function validateOneCredential(validation: Validation, options: TailscaleNodeOptions): void {
  if (options.tsAuthKeySecret && options.tsSecretApiKey) {
    validation.refuse('tsSecretApiKey', 'set beside tsAuthKeySecret', 'use tsAuthKeySecret alone: both name the secret that holds the auth key');
  }
  const set = [
    ...secretOf(options) ? [options.tsAuthKeySecret ? 'tsAuthKeySecret' : 'tsSecretApiKey'] : [],
    ...options.tsAuthKeyParameter ? ['tsAuthKeyParameter'] : [],
    ...options.tsWorkloadIdentity ? ['tsWorkloadIdentity'] : [],
  ];
  const [first, ...others] = set;
  if (first === undefined) {
    validation.refuse('tsAuthKeySecret', 'not set', 'name the secret that holds the Tailscale auth key, or use tsAuthKeyParameter or tsWorkloadIdentity');
  }
  others.forEach((other) => validation.refuse(other, `set beside ${first}`, 'use exactly one of them: a function logs in with one credential'));
}

/** What CloudFormation can make of a parameter is not encrypted, and the template would show the key. */
function validateParameter(validation: Validation, parameter: ssm.IStringParameter, fn: IConstruct): void {
  const { region } = Stack.of(fn);
  if (Resource.isOwnedResource(parameter)) {
    validation.refuse('tsAuthKeyParameter', 'a parameter of the app', 'CloudFormation cannot encrypt parameters: make a SecureString outside ' +
      'of it, and import that (StringParameter.fromSecureStringParameterAttributes)');
  } else if (Token.compareStrings(parameter.env.region, region) === TokenComparison.DIFFERENT) {
    validation.refuse('tsAuthKeyParameter', `a parameter in ${parameter.env.region}`, `the function reads parameters in ${region}: make one there`);
  }
}

function validateBesideWorkloadIdentity(validation: Validation, options: TailscaleNodeOptions): void {
  if (options.tsAdvertiseTags) {
    validation.refuse('tsAdvertiseTags', 'set beside tsWorkloadIdentity', 'use the tags of tsWorkloadIdentity alone');
  }
  if (options.tsSecretField) {
    validation.refuse('tsSecretField', 'set beside tsWorkloadIdentity', 'leave it out: there is no secret');
  }
  const { clientId } = options.tsWorkloadIdentity!;
  if (options.tsControlUrl && !Token.isUnresolved(clientId) && !clientId.includes('baseURL=')) {
    validation.refuse('tsControlUrl', 'set beside tsWorkloadIdentity', 'keys of Tailscale\'s own API do not serve at another control server, and ' +
      'Headscale has no such exchange: use tsAuthKeySecret, or name that server\'s API after the client id (?baseURL=…)');
  }
}

function validateExitNode(validation: Validation, options: TailscaleNodeOptions): void {
  validation.text('tsExitNode', options.tsExitNode || undefined, /^\S+$/, 'use the exit node\'s tailnet address or its machine name');
  validation.integer('tsExitNodePingTimeout', options.tsExitNodePingTimeout, 1, 60_000, 'milliseconds');
  validation.integer('tsExitNodePingAttempts', options.tsExitNodePingAttempts, 1, 100, 'pings');
  validation.integer('tsExitNodePingRetries', options.tsExitNodePingRetries, 1, 100, 'pings');
  if (options.tsExitNodePingAttempts !== undefined && options.tsExitNodePingRetries !== undefined) {
    validation.refuse('tsExitNodePingRetries', 'set beside tsExitNodePingAttempts', 'use tsExitNodePingAttempts alone: both are the number of pings');
  }
  if (options.tsExitNodeRequired && !options.tsExitNode) {
    validation.refuse('tsExitNodeRequired', 'true', 'name the exit node with tsExitNode as well');
  }
}

/** The extension's rules for what the secret holds, if the app itself says what that is. */
function validateSecretText(validation: Validation, secret: secretsmanager.ISecret, options: TailscaleNodeOptions): void {
  const text = knownText(secret);
  const field = options.tsSecretField || undefined;
  if (text === undefined || Token.isUnresolved(field)) {
    return;
  }
  const key = field === undefined ? text : fieldOf(text, field);
  if (key === undefined) {
    validation.refuse('tsSecretField', `"${field}"`, 'the secret must be a JSON object that has a text in that field');
  } else if (key === '') {
    validation.refuse('tsAuthKeySecret', 'a secret that holds no text', 'store the Tailscale auth key in it');
  } else if (field === undefined && key.startsWith('{')) {
    validation.refuse('tsSecretField', 'not set', 'the secret is a JSON object: name the field that holds the key');
  } else if (key.startsWith('tskey-api-')) {
    validation.refuse('tsAuthKeySecret', 'a secret that holds an API access token (tskey-api-…)',
      'a machine cannot join with it: store an auth key (tskey-auth-…) or an OAuth client secret (tskey-client-…)');
  } else if (key.startsWith('tskey-client-') && !options.tsAdvertiseTags) {
    validation.refuse('tsAdvertiseTags', 'not set',
      'the secret holds an OAuth client secret, which lets machines join with tags only: name them, such as "tag:lambda"');
  }
}
