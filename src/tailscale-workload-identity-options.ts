/**
 * As whom a function logs in without a stored key: its IAM role gets a token from AWS, and a trust credential of Tailscale's
 * (workload identity federation) takes that for an auth key.
 *
 * Outbound identity federation must be enabled in the account, once: `aws iam enable-outbound-web-identity-federation`.
 * Stack outputs name the issuer, subject, audience and tags that the trust credential must have.
 */
export interface TailscaleWorkloadIdentityOptions {
  /**
   * The trust credential's client id. Attributes may follow it, as they do on Tailscale's own command line:
   * `?ephemeral=false&preauthorized=false&baseURL=https://…` (by default, machines are ephemeral and need no approval, and the
   * API is `https://api.tailscale.com`). It is not a secret.
   */
  readonly clientId: string;

  /**
   * For whom AWS makes the token. The trust credential must name the same audience.
   *
   * @default - `api.tailscale.com/` and the client id, which is Tailscale's own default
   */
  readonly audience?: string;

  /**
   * The tags of the machine, such as `['tag:lambda']`. The trust credential must have them. At least one.
   */
  readonly tags: string[];
}
