// What of how a function joins a tailnet can be known to be wrong at synth.
import { Token } from 'aws-cdk-lib';
import { fieldOf, knownText } from './known-secret';
import { TailscaleNodeOptions } from './tailscale-node-options';
import { Validation } from './validation';

/**
 * Refuses options that cannot work. An empty text counts as unset, except where the prop is required.
 * @internal
 */
export function validateNode(validation: Validation, options: TailscaleNodeOptions): void {
  const hostname = /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$/;
  validation.text('tsHostname', options.tsHostname, hostname, 'use 1 to 63 letters, digits and hyphens, with no hyphen first or last');
  validation.text('tsAdvertiseTags', options.tsAdvertiseTags || undefined, /^\s*tag:[^,\s]+\s*(,\s*tag:[^,\s]+\s*)*$/,
    'write tags separated by commas, each beginning with "tag:", such as "tag:lambda,tag:prod"');
  validation.text('tsExitNode', options.tsExitNode || undefined, /^\S+$/, 'use the exit node\'s tailnet address or its machine name');
  validation.text('tsControlUrl', options.tsControlUrl || undefined, /^https?:\/\/[^/\s]+\S*$/,
    'use the control server\'s address, such as "https://headscale.example.com"');
  validation.integer('tsExitNodePingTimeout', options.tsExitNodePingTimeout, 1, 60_000, 'milliseconds');
  validation.integer('tsExitNodePingRetries', options.tsExitNodePingRetries, 1, 100, 'pings');
  if (options.tsExitNodeRequired && !options.tsExitNode) {
    validation.refuse('tsExitNodeRequired', 'true', 'name the exit node with tsExitNode as well');
  }
  validateSecret(validation, options);
}

/** The rules of the extension for what the secret holds, where the app itself says what that is. */
function validateSecret(validation: Validation, options: TailscaleNodeOptions): void {
  const text = knownText(options.tsSecretApiKey);
  const field = options.tsSecretField || undefined;
  if (text === undefined || Token.isUnresolved(field)) {
    return;
  }
  const key = field === undefined ? text : fieldOf(text, field);
  if (key === undefined) {
    validation.refuse('tsSecretField', `"${field}"`, 'the secret must be a JSON object that has a text in that field');
  }
  if (key === '') {
    validation.refuse('tsSecretApiKey', 'a secret that holds no text', 'store the Tailscale auth key in it');
  }
  if (field === undefined && key.startsWith('{')) {
    validation.refuse('tsSecretField', 'not set', 'the secret is a JSON object: name the field that holds the key');
  }
  if (key.startsWith('tskey-client-') && !options.tsAdvertiseTags) {
    validation.refuse('tsAdvertiseTags', 'not set',
      'the secret holds an OAuth client secret, which lets machines join with tags only: name them, such as "tag:lambda"');
  }
}
