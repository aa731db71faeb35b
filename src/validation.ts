// What can be known to be wrong at synth is refused there: before the first resource, with the prop, the value and
// the remedy. The binaries hold the same rules for what only a deployment knows (tokens pass here).
import { Duration, Token } from 'aws-cdk-lib';
import { Construct } from 'constructs';

/**
 * Checks props one by one; the first that is wrong is an error.
 * @internal
 */
export class Validation {
  constructor(private readonly owner: Construct) {}

  /** A text that matches a pattern, if it is set. */
  public text(prop: string, value: string | undefined, pattern: RegExp, remedy: string): void {
    if (value !== undefined && !Token.isUnresolved(value) && !pattern.test(value)) {
      this.refuse(prop, `"${value}"`, remedy);
    }
  }

  /** The name of a Lambda function, if it is set. */
  public functionName(prop: string, value: string | undefined): void {
    this.text(prop, value, /^[A-Za-z0-9_-]{1,64}$/, 'use 1 to 64 letters, digits, hyphens and underscores');
  }

  /** A whole number within bounds, if it is set. With `Infinity` there is no upper bound. */
  public integer(prop: string, value: number | undefined, least: number, most: number, unit: string): void {
    if (value === undefined || Token.isUnresolved(value)) {
      return;
    }
    if (!Number.isInteger(value) || value < least || value > most) {
      const bounds = most === Infinity ? `, ${least} or more` : ` from ${least} to ${most}`;
      this.refuse(prop, `${value}`, `use a whole number of ${unit}${bounds}`);
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
