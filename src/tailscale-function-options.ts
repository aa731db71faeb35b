import { TailscaleForward } from './tailscale-forward';
import { TailscaleJoin } from './tailscale-join';
import { TailscaleNodeOptions } from './tailscale-node-options';

/**
 * How a function with `TailscaleLambdaExtension` joins a tailnet.
 */
export interface TailscaleFunctionOptions extends TailscaleNodeOptions {
  /**
   * Whether connections from the tailnet to the function are rejected. With `false`, machines that the tailnet's policy
   * allows reach every port on the function's loopback, including Lambda's runtime API.
   *
   * @default true
   */
  readonly tsShieldsUp?: boolean;

  /**
   * Whether an environment that cannot join the tailnet ends before the function's code runs. With `false` the code
   * runs, and its connections fail until the environment has joined.
   *
   * @default false
   */
  readonly tsRequireTailnet?: boolean;

  /**
   * When the environment joins the tailnet.
   *
   * @default TailscaleJoin.INIT
   */
  readonly tsJoin?: TailscaleJoin;

  /**
   * Whether the variables are set by which HTTP clients find the extension's proxy: `HTTP_PROXY`, `HTTPS_PROXY` and
   * `ALL_PROXY`, also in lower case, `NODE_USE_ENV_PROXY=1` for Node's own `fetch`, and `NO_PROXY` for what must not go
   * there: loopback, link-local addresses and AWS. They replace values that the function has for them.
   *
   * @default false
   */
  readonly proxyEnvironment?: boolean;

  /**
   * Further hosts, suffixes (`.example.com`) and addresses that clients reach without the proxy. Needs `proxyEnvironment`.
   *
   * @default - none beyond loopback, link-local addresses and AWS
   */
  readonly noProxy?: string[];

  /**
   * Ports on the function's loopback that lead to one target each, for clients that know no proxy, such as database
   * drivers. 32 at most.
   *
   * @default - none
   */
  readonly forwards?: TailscaleForward[];
}
