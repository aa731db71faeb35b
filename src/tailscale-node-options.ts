import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import * as ssm from 'aws-cdk-lib/aws-ssm';
import { TailscaleWorkloadIdentityOptions } from './tailscale-workload-identity-options';

/**
 * How a Lambda function joins a tailnet: with exactly one of `tsAuthKeySecret`, `tsAuthKeyParameter` and `tsWorkloadIdentity`.
 */
export interface TailscaleNodeOptions {
  /**
   * The secret that holds the Tailscale auth key or OAuth client secret: as plain text, or in a field of a JSON object
   * (`tsSecretField`). A secret of another region must be imported by its complete ARN. A secret with a KMS key of your own
   * that is imported must be imported with that key (`Secret.fromSecretAttributes`), so that the function may decrypt it.
   *
   * @default - the secret in `tsSecretApiKey`, or none
   * @see https://tailscale.com/kb/1085/auth-keys
   */
  readonly tsAuthKeySecret?: secretsmanager.ISecret;

  /**
   * The secret that holds the Tailscale auth key or OAuth client secret. Not an API access token (`tskey-api-…`).
   *
   * @default - the secret in `tsAuthKeySecret`
   * @deprecated use `tsAuthKeySecret`, which is the same under a name that says what the secret holds
   */
  readonly tsSecretApiKey?: secretsmanager.ISecret;

  /**
   * The parameter of Systems Manager (SecureString) that holds the Tailscale auth key or OAuth client secret, in the function's
   * region: `StringParameter.fromSecureStringParameterAttributes`, with its KMS key if it has one of your own.
   *
   * @default - none
   * @see https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-parameter-store.html
   */
  readonly tsAuthKeyParameter?: ssm.IStringParameter;

  /**
   * Logs in with the function's own IAM role: no key is stored anywhere. The trust credential at Tailscale names the role.
   *
   * @default - none
   * @see https://tailscale.com/docs/features/workload-identity-federation
   */
  readonly tsWorkloadIdentity?: TailscaleWorkloadIdentityOptions;

  /**
   * The field that holds the key, if the secret or the parameter is a JSON object.
   *
   * @default - the whole text is the key
   */
  readonly tsSecretField?: string;

  /**
   * The machine name that the Tailscale admin console shows for the function:
   * 1 to 63 letters, digits and hyphens, with no hyphen first or last.
   */
  readonly tsHostname: string;

  /**
   * The ACL tags that the machine requests, separated by commas: `tag:lambda,tag:prod`.
   * Required if the secret holds an OAuth client secret. Not with `tsWorkloadIdentity`, which has tags of its own.
   *
   * @default - the tags of the auth key, if any
   * @see https://tailscale.com/kb/1068/tags
   */
  readonly tsAdvertiseTags?: string;

  /**
   * The exit node for traffic to the internet: its tailnet address or its machine name.
   *
   * @default - no exit node
   * @see https://tailscale.com/kb/1103/exit-nodes
   */
  readonly tsExitNode?: string;

  /**
   * Whether requests are rejected while the exit node cannot be reached. Needs `tsExitNode`.
   *
   * @default false
   */
  readonly tsExitNodeRequired?: boolean;

  /**
   * How long one ping of the exit node may take, in milliseconds. From 1 to 60000.
   *
   * @default 500
   */
  readonly tsExitNodePingTimeout?: number;

  /**
   * How many pings of the exit node may fail before it counts as unreachable. From 1 to 100.
   *
   * @default 4
   */
  readonly tsExitNodePingAttempts?: number;

  /**
   * How many pings of the exit node may fail before it counts as unreachable. From 1 to 100.
   *
   * @default - `tsExitNodePingAttempts`
   * @deprecated use `tsExitNodePingAttempts`: the number includes the first ping
   */
  readonly tsExitNodePingRetries?: number;

  /**
   * The address of a control server other than Tailscale's, such as Headscale: `https://headscale.example.com`.
   *
   * @default - Tailscale's control server
   */
  readonly tsControlUrl?: string;

  /**
   * Whether to log details of requests and responses, and the output of tailscaled.
   * Bodies, credentials and cookies are never logged.
   *
   * @default false
   */
  readonly debug?: boolean;
}
