// Checks at synth how a function joins its tailnet.
import { Token } from 'aws-cdk-lib';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { IConstruct } from 'constructs';
import { fieldOf, knownText, secretOf, validateSecretPlace } from './secret-validation';
import { TailscaleNodeOptions } from './tailscale-node-options';
import { Validation } from './validation';

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
  const secret = secretOf(options);
  if (!secret) {
    validation.refuse('tsAuthKeySecret', 'not set', 'name the secret that holds the Tailscale auth key');
    return;
  }
  if (options.tsAuthKeySecret && options.tsSecretApiKey) {
    validation.refuse('tsSecretApiKey', 'set beside tsAuthKeySecret', 'use tsAuthKeySecret alone: both name the secret that holds the auth key');
  }
  validateSecretPlace(validation, 'tsAuthKeySecret', secret, fn);
  validateSecretText(validation, secret, options);
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
