// The function's role as Tailscale's trust credential knows it, and what the role must be allowed for it.
import { CfnOutput, Fn, Token } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { joined } from './environment';
import { warnOfImmutableRole } from './grant-secret';
import { TailscaleWorkloadIdentityOptions } from './tailscale-workload-identity-options';
import { isListToken, Validation } from './validation';

/** What the extension asks STS for. */
const SECONDS = 300;
const ALGORITHM = 'ES384';
/** The attributes that may follow the client id. */
const ATTRIBUTES = ['ephemeral', 'preauthorized', 'baseURL'];

/**
 * Lets a function's role get tokens for Tailscale and for nobody else, and tells in the stack's outputs what the trust
 * credential must be made with.
 * @internal
 */
export function useWorkloadIdentity(fn: lambda.Function, identity: TailscaleWorkloadIdentityOptions): void {
  const audience = audienceOf(identity);
  fn.addToRolePolicy(new iam.PolicyStatement({
    actions: ['sts:GetWebIdentityToken'],
    // The action has no resources: what the token can be is what can be narrowed down.
    resources: ['*'],
    conditions: {
      'ForAllValues:StringEquals': { 'sts:IdentityTokenAudience': audience },
      'NumericLessThanEquals': { 'sts:DurationSeconds': SECONDS },
      'StringEquals': { 'sts:SigningAlgorithm': ALGORITHM },
    },
  }));
  warnOfImmutableRole(fn, 'sts:GetWebIdentityToken for the audience of tsWorkloadIdentity');
  const outputs = new Construct(fn, 'TailscaleTrustCredential');
  const output = (id: string, value: string, description: string) => new CfnOutput(outputs, id, { value, description });
  output('Issuer', 'aws iam get-outbound-web-identity-federation-info --query IssuerIdentifier --output text',
    'Trust credential at Tailscale: this command shows the issuer');
  output('Subject', fn.role!.roleArn, 'Trust credential at Tailscale: the subject');
  output('Audience', audience, 'Trust credential at Tailscale: the audience');
  output('Tags', joined(identity.tags)!, 'Trust credential at Tailscale: the tags, with the scope auth_keys (write)');
}

/** For whom tokens are made: the extension has the same default. */
function audienceOf({ clientId, audience }: TailscaleWorkloadIdentityOptions): string {
  const withoutAttributes = Token.isUnresolved(clientId) ? Fn.select(0, Fn.split('?', clientId)) : clientId.split('?')[0];
  return audience || `api.tailscale.com/${withoutAttributes}`;
}

/**
 * Refuses a workload identity that cannot log in.
 * @internal
 */
export function validateWorkloadIdentity(validation: Validation, identity: TailscaleWorkloadIdentityOptions): void {
  validateClientId(validation, identity.clientId);
  validation.text('tsWorkloadIdentity.audience', identity.audience || undefined, /^\S{1,1000}$/,
    'use the audience of the trust credential: 1 to 1000 characters without spaces');
  validateTags(validation, identity.tags);
}

function validateClientId(validation: Validation, clientId: string): void {
  const prop = 'tsWorkloadIdentity.clientId';
  if (clientId.startsWith('tskey-')) {
    validation.refuse(prop, 'a key (tskey-…)',
      'name the client id of a trust credential: a key would be visible in the template, and belongs into a secret (tsAuthKeySecret)');
    return;
  }
  validation.text(prop, clientId, /^[^\s?]+(\?\S*)?$/, 'use the client id that Tailscale shows for the trust credential');
  if (!Token.isUnresolved(clientId)) {
    const attributes = new URLSearchParams(clientId.split('?')[1]);
    [...attributes.keys()].filter((name) => !ATTRIBUTES.includes(name))
      .forEach((name) => validation.refuse(prop, `followed by the attribute "${name}"`, `use one of ${ATTRIBUTES.join(', ')}`));
  }
}

function validateTags(validation: Validation, tags: string[]): void {
  const prop = 'tsWorkloadIdentity.tags';
  if (Token.isUnresolved(tags)) {
    return;
  }
  if (tags.length === 0) {
    validation.refuse(prop, 'an empty list', 'name at least one tag of the trust credential, such as "tag:lambda"');
  }
  for (const tag of tags.filter((element) => !isListToken(element))) {
    validation.text(prop, tag, /^tag:[^,\s]+$/, 'begin each tag with "tag:", such as "tag:lambda"');
  }
}
