import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';

/**
 * How a Lambda function joins a tailnet.
 */
export interface TailscaleNodeOptions {
  /**
   * The secret that holds the Tailscale auth key or OAuth client secret: as plain text, or in a field of a JSON object
   * (`tsSecretField`). One that is encrypted with a key of your own and imported must be imported with it
   * (`Secret.fromSecretAttributes`), so that the function may decrypt it.
   */
  readonly tsSecretApiKey: secretsmanager.ISecret;

  /**
   * The field that holds the key, where the secret is a JSON object.
   *
   * @default - the whole secret is the key
   */
  readonly tsSecretField?: string;

  /**
   * The machine name that the Tailscale admin console shows for the function:
   * 1 to 63 letters, digits and hyphens, with no hyphen first or last.
   */
  readonly tsHostname: string;

  /**
   * The ACL tags that the machine asks for, separated by commas: `tag:lambda,tag:prod`.
   * Required where the secret holds an OAuth client secret.
   *
   * @default - the tags that the auth key brings, if any
   */
  readonly tsAdvertiseTags?: string;

  /**
   * The exit node that traffic to the internet leaves by: its tailnet address or its machine name.
   *
   * @default - no exit node
   */
  readonly tsExitNode?: string;

  /**
   * Whether nothing may leave while the exit node cannot be reached. Needs `tsExitNode`.
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
   * How often the exit node is pinged before it counts as unreachable. From 1 to 100.
   *
   * @default 4
   */
  readonly tsExitNodePingRetries?: number;

  /**
   * The address of a control server other than Tailscale's, such as Headscale: `https://headscale.example.com`.
   *
   * @default - Tailscale's control server
   */
  readonly tsControlUrl?: string;

  /**
   * Whether to log in detail: what requests and answers look like, and all that tailscaled says.
   * Never bodies, credentials or cookies.
   *
   * @default false
   */
  readonly debug?: boolean;
}
