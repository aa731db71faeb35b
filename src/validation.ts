// Checks props at synth. A refusal names the prop, the value and the remedy. The binaries check the same rules at run time, for
// values that only the deployment knows (tokens pass here).
import { Duration, Token } from 'aws-cdk-lib';
import { Construct } from 'constructs';

/**
 * The units that durations are rendered in, by the names that `Duration` makes them with.
 * @internal
 */
export enum DurationUnit {
  MILLIS = 'millis',
  SECONDS = 'seconds',
  MINUTES = 'minutes',
}

/**
 * Checks props one by one. Problems are reported when the app is synthesized, together with those of all other constructs, so
 * that one run shows all of them.
 * @internal
 */
export class Validation {
  private readonly problems = new Set<string>();

  constructor(private readonly owner: Construct) {
    owner.node.addValidation({ validate: () => [...this.problems] });
  }

  /** Whether anything was refused so far. */
  public get failed(): boolean {
    return this.problems.size > 0;
  }

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

  /** A duration within bounds, if it is set. One that only the deployment knows must be in the unit that is rendered. */
  public duration(prop: string, value: Duration | undefined, least: Duration, most: Duration, unit: DurationUnit = DurationUnit.MILLIS): void {
    if (value?.isUnresolved()) {
      this.unit(prop, value, unit);
    } else if (value && (value.toMilliseconds() < least.toMilliseconds() || value.toMilliseconds() > most.toMilliseconds())) {
      this.refuse(prop, value.toHumanString(), `use a duration from ${least.toHumanString()} to ${most.toHumanString()}`);
    }
  }

  private unit(prop: string, value: Duration, unit: DurationUnit): void {
    if (value.unitLabel() !== unit) {
      this.refuse(prop, `a number of ${value.unitLabel()} that only the deployment knows`,
        `it cannot be converted at synth: use Duration.${unit}() with a number of ${unit}`);
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
    for (const target of value.filter((element) => !isListToken(element))) {
      this.text(prop, target, entry, 'use an address, a network, a name or *.suffix, each with :port or :from-to after it if need be');
    }
  }

  /** PEM certificates, no more than so many characters, if they are set. */
  public certificates(prop: string, value: string | undefined, most: number): void {
    if (value === undefined || Token.isUnresolved(value)) {
      return;
    }
    if (!/-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----/.test(value)) {
      this.refuse(prop, 'not PEM text', 'give certificates that begin with "-----BEGIN CERTIFICATE-----"');
    }
    if (value.length > most) {
      this.refuse(prop, `${value.length} characters long`, `keep it to ${most}: give the root certificate alone, or a file (caCertificatesFile)`);
    }
  }

  /** Records that a value is refused, in the words that all refusals have. */
  public refuse(prop: string, value: string, remedy: string): void {
    this.problems.add(refusal(prop, value, remedy));
  }

  /** Throws the refusal at once, for callers that need a result. */
  public fail(prop: string, value: string, remedy: string): never {
    throw new Error(`${this.owner.node.path}: ${refusal(prop, value, remedy)}`);
  }
}

/**
 * Whether an element of a list stands for a whole list that only the deployment knows, as in `['db', ...parameter.valueAsList]`.
 * @internal
 */
export function isListToken(element: string): boolean {
  return Token.isUnresolved([element]);
}

/**
 * The words that all refusals have.
 * @internal
 */
export function refusal(prop: string, value: string, remedy: string): string {
  return `${prop} is ${value}: ${remedy}`;
}
