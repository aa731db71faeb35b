// What can be known to be wrong at synth is refused there: before the first resource, with the prop, the value and
// the remedy. The binaries hold the same rules for what only a deployment knows (tokens pass here).
import { Duration, Token } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { TailscaleNodeOptions } from './tailscale-node-options';

/**
 * Checks props one by one; the first that is wrong is an error.
 * @internal
 */
export class Validation {
  constructor(private readonly owner: Construct) {}

  /** How a function joins a tailnet. */
  public node(options: TailscaleNodeOptions): void {
    const hostname = /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$/;
    this.text('tsHostname', options.tsHostname, hostname, 'use 1 to 63 letters, digits and hyphens, with no hyphen first or last');
    // An empty text counts as unset, except where the prop is required.
    this.text('tsAdvertiseTags', options.tsAdvertiseTags || undefined, /^\s*tag:[^,\s]+\s*(,\s*tag:[^,\s]+\s*)*$/,
      'write tags separated by commas, each beginning with "tag:", such as "tag:lambda,tag:prod"');
    this.text('tsExitNode', options.tsExitNode || undefined, /^\S+$/, 'use the exit node\'s tailnet address or its machine name');
    this.text('tsControlUrl', options.tsControlUrl || undefined, /^https?:\/\/[^/\s]+\S*$/,
      'use the control server\'s address, such as "https://headscale.example.com"');
    this.integer('tsExitNodePingTimeout', options.tsExitNodePingTimeout, 1, 60_000, 'milliseconds');
    this.integer('tsExitNodePingRetries', options.tsExitNodePingRetries, 1, 100, 'pings');
    if (options.tsExitNodeRequired && !options.tsExitNode) {
      this.refuse('tsExitNodeRequired', 'true', 'name the exit node with tsExitNode as well');
    }
  }

  /** A text that matches a pattern, if it is set. */
  public text(prop: string, value: string | undefined, pattern: RegExp, remedy: string): void {
    if (value !== undefined && !Token.isUnresolved(value) && !pattern.test(value)) {
      this.refuse(prop, `"${value}"`, remedy);
    }
  }

  /** A whole number within bounds, if it is set. */
  public integer(prop: string, value: number | undefined, least: number, most: number, unit: string): void {
    if (value === undefined || Token.isUnresolved(value)) {
      return;
    }
    if (!Number.isInteger(value) || value < least || value > most) {
      this.refuse(prop, `${value}`, `use a whole number of ${unit} from ${least} to ${most}`);
    }
  }

  /** A duration within bounds, if it is set. */
  public duration(prop: string, value: Duration | undefined, least: Duration, most: Duration): void {
    if (value === undefined || value.isUnresolved()) {
      return;
    }
    if (value.toMilliseconds() < least.toMilliseconds() || value.toMilliseconds() > most.toMilliseconds()) {
      this.refuse(prop, value.toHumanString(), `use a duration from ${least.toHumanString()} to ${most.toHumanString()}`);
    }
  }

  /** A list of targets, if it is set. What is within an entry, the proxy checks in full when it starts. */
  public targets(prop: string, value: string[] | undefined): void {
    if (value === undefined || Token.isUnresolved(value)) {
      return;
    }
    if (value.length === 0) {
      this.refuse(prop, 'an empty list', 'name at least one target, or leave it out to allow all that the tailnet covers');
    }
    const entry = /^(\[[0-9A-Fa-f:.]+(\/\d{1,3})?\]|[^\s,[\]]+)(:\d{1,5}(-\d{1,5})?)?$/;
    for (const target of value) {
      this.text(prop, target, entry, 'use an address, a network, a name or *.suffix, each with :port or :from-to after it if need be');
    }
  }

  /** PEM certificates, no more than so many characters, if they are set. */
  public certificates(prop: string, value: string | undefined, most: number): void {
    if (value === undefined || Token.isUnresolved(value)) {
      return;
    }
    if (!/-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----/.test(value)) {
      this.refuse(prop, 'no PEM text', 'give certificates that begin with "-----BEGIN CERTIFICATE-----"');
    }
    if (value.length > most) {
      this.refuse(prop, `${value.length} characters long`, `keep it to ${most}: give the root certificate alone`);
    }
  }

  /** Refuses a value, in the words that all refusals have. */
  public refuse(prop: string, value: string, remedy: string): never {
    throw new Error(`${this.owner.node.path}: ${prop} is ${value}: ${remedy}`);
  }
}
