// Warnings at synth, each with an id by which an app can acknowledge it.
import { Annotations } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';

/**
 * The ids of the warnings.
 * @internal
 */
export enum Warning {
  ALIAS = 'provisionedConcurrencyWithoutAlias',
  CALLER_OF_OTHER_ACCOUNT = 'callerOfOtherAccount',
  FUNCTION_URL_REGION = 'functionUrlRegion',
  IMMUTABLE_ROLE = 'immutableRole',
  LAYER_PERMISSION = 'layerPermission',
  NO_INTERNET_ACCESS = 'noInternetAccess',
  PROFILE_TARGET = 'profileTargetNotAllowed',
  RETAINED_NAME = 'retainedFunctionName',
  SECRET_OF_OTHER_ACCOUNT = 'secretOfOtherAccount',
  SKIP_TLS_VERIFICATION = 'skipTlsVerification',
  TAILSCALE_PLAN = 'tailscalePlan',
  WARMER_WITHOUT_EFFECT = 'warmerWithoutEffect',
}

/**
 * Warns of a construct. Acknowledged with `Annotations.of(scope).acknowledgeWarning('tailscale-lambda-proxy:<id>')`.
 * @internal
 */
export function warn(construct: IConstruct, warning: Warning, message: string): void {
  Annotations.of(construct).addWarningV2(`tailscale-lambda-proxy:${warning}`, message);
}
