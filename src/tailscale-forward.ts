/**
 * A port on the function's loopback that leads to one target in the tailnet.
 */
export interface TailscaleForward {
  /**
   * The port on `127.0.0.1` that the function's code connects to. From 1024 to 65535; not 1055, 1056, 2000 or 9001.
   */
  readonly localPort: number;

  /**
   * Where it leads: `host:port`, with a MagicDNS name or an address (`[…]:port` for IPv6).
   */
  readonly target: string;
}
