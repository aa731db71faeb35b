// Checks at synth how a function's code reaches the tailnet through its extension.
import { Token } from 'aws-cdk-lib';
import { TailscaleForward } from './tailscale-forward';
import { TailscaleFunctionOptions } from './tailscale-function-options';
import { TailscaleJoin } from './tailscale-join';
import { isListToken, Validation } from './validation';

/** Local ports that are taken, and by whom. */
const TAKEN: Record<number, string> = {
  1055: 'the extension\'s own', 1056: 'the extension\'s own', 2000: 'the X-Ray daemon\'s', 9001: 'Lambda\'s Runtime API\'s',
};
/** As many as the extension opens. */
const MOST_FORWARDS = 32;

/**
 * Refuses options that cannot work.
 * @internal
 */
export function validateDoors(validation: Validation, options: TailscaleFunctionOptions): void {
  if (options.tsRequireTailnet && options.tsJoin && options.tsJoin !== TailscaleJoin.INIT) {
    validation.refuse('tsJoin', `"${options.tsJoin}" beside tsRequireTailnet`, 'a function that needs the tailnet must wait for it: leave one of the two out');
  }
  if (options.noProxy && !options.proxyEnvironment) {
    validation.refuse('noProxy', 'set without proxyEnvironment', 'set proxyEnvironment to true as well');
  }
  for (const exception of options.noProxy ?? []) {
    if (!isListToken(exception)) {
      validation.text('noProxy', exception, /^[^\s,]+$/, 'use one host, suffix (".example.com") or address for each entry');
    }
  }
  validateForwards(validation, options.forwards ?? []);
}

function validateForwards(validation: Validation, forwards: TailscaleForward[]): void {
  if (forwards.length > MOST_FORWARDS) {
    validation.refuse('forwards', `${forwards.length} entries`, `use ${MOST_FORWARDS} at most`);
  }
  const seen = new Set<number>();
  for (const { localPort, target } of forwards) {
    validation.integer('forwards.localPort', localPort, 1024, 65_535, 'a port');
    validateTarget(validation, target);
    if (Token.isUnresolved(localPort)) {
      continue;
    }
    if (TAKEN[localPort]) {
      validation.refuse('forwards.localPort', `${localPort}, which is ${TAKEN[localPort]}`, 'use another port');
    }
    if (seen.has(localPort)) {
      validation.refuse('forwards.localPort', `${localPort} twice`, 'use each port once: a port leads to one target');
    }
    seen.add(localPort);
  }
}

function validateTarget(validation: Validation, target: string): void {
  const remedy = 'use host:port, such as "db.example.ts.net:5432", or "[fd7a::1]:5432" for an IPv6 address';
  validation.text('forwards.target', target, /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):\d{1,5}$/, remedy);
  const port = Token.isUnresolved(target) ? 1 : Number(target.slice(target.lastIndexOf(':') + 1));
  if (port < 1 || port > 65_535) {
    validation.refuse('forwards.target', `"${target}"`, 'use a port from 1 to 65535');
  }
}
