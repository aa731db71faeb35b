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
}
