/**
 * When a function's environment joins the tailnet.
 */
export enum TailscaleJoin {
  /** While the environment starts: the function's code is first called when it has joined, or after 8.5 s. */
  INIT = 'init',

  /** The start of the environment begins to join, and does not wait: the first connections do. */
  BACKGROUND = 'background',

  /** The first connection into the tailnet begins to join, and waits for it. For functions that rarely use the tailnet. */
  LAZY = 'lazy',
}
