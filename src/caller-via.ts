/**
 * The ways by which a function can call the proxy.
 */
export enum CallerVia {
  /**
   * By the proxy's Function URL.
   */
  FUNCTION_URL = 'FUNCTION_URL',

  /**
   * By Lambda's Invoke API: in regions without Function URLs, and from subnets without internet, by the interface endpoint of Lambda
   * (`com.amazonaws.<region>.lambda`). The proxy may be one with `functionUrl: false`. Responses come whole, at their end, up to 6 MB.
   */
  INVOKE = 'INVOKE',
}
