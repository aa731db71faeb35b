/**
 * What a profile of a proxy allows.
 */
export interface TailscaleLambdaProxyProfileOptions {
  /**
   * The targets that callers of the profile may name, in the form of the proxy's `allowedTargets`. At least one. They narrow that list down
   * and never widen it: where the proxy has `allowedTargets`, a target must be in both.
   */
  readonly allowedTargets: string[];

  /**
   * Whether the profile has a Function URL, also where the proxy itself has none. Without it, callers invoke the profile by Lambda's API:
   * see `grantInvoke`.
   *
   * @default true
   */
  readonly functionUrl?: boolean;
}
