// What a secret holds, as far as the app itself says so (`secretStringValue`, `secretObjectValue`): rarely anything, and
// then enough to refuse at synth what would fail in every environment. The text itself is never shown.
import { CfnResource, Stack } from 'aws-cdk-lib';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';

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
    // No JSON. The parser's own words would show a piece of the secret.
    return undefined;
  }
}
