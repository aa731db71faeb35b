import { TailscaleNodeOptions } from './tailscale-node-options';

/**
 * How a function with the extension alone joins a tailnet.
 */
export interface TailscaleFunctionOptions extends TailscaleNodeOptions {
  /**
   * Whether no machine of the tailnet may connect to the function. With `false` each machine that the tailnet's policy
   * lets in reaches what listens on the function's loopback, Lambda's own runtime API included.
   *
   * @default true
   */
  readonly tsShieldsUp?: boolean;

  /**
   * Whether an environment that cannot join the tailnet ends before the function's code runs. With `false` the code
   * runs, and its connections fail until the tailnet can be joined.
   *
   * @default false
   */
  readonly tsRequireTailnet?: boolean;
}
