// The variables by which HTTP clients find the extension's proxy, and what must not go there.
import { joined } from './environment';

/** The proxy on the function's loopback. Its address, because a name may lead to ::1 first. */
const PROXY = 'http://127.0.0.1:1055';

/**
 * What clients reach without the tailnet: the environment itself, and AWS. Literal addresses and suffixes only, which all
 * clients understand.
 */
const EXCEPTIONS = [
  'localhost', '127.0.0.1', '::1',
  // Credentials of containers and instances, X-Ray's daemon.
  '169.254.169.254', '169.254.170.2', '169.254.170.23', '169.254.79.129',
  '.amazonaws.com', '.amazonaws.com.cn', '.api.aws', '.on.aws',
];

/**
 * The variables' names and values. Clients disagree about which of both cases they read. `ALL_PROXY` is an HTTP proxy too:
 * some clients fail at their start if it names SOCKS and they have no support for that.
 * @internal
 */
export function proxyVariables(exceptions: string[] = []): Record<string, string> {
  const proxies = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'].flatMap((name) => [[name, PROXY], [name.toLowerCase(), PROXY]]);
  const list = joined([...EXCEPTIONS, ...exceptions])!;
  // Node's own fetch and https, from Node 22.21 and 24.5 on.
  return Object.fromEntries([...proxies, ['NO_PROXY', list], ['no_proxy', list], ['NODE_USE_ENV_PROXY', '1']]);
}
