// The profiles of one proxy: their checks, and the variable that tells the function of them.
import { Token } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Construct } from 'constructs';
import { ProfileSettings, profilesEnvironment } from './environment';
import { LIVE } from './proxy-function';
import { TailscaleLambdaProxyProfile } from './tailscale-lambda-proxy-profile';
import { TailscaleLambdaProxyProfileOptions } from './tailscale-lambda-proxy-profile-options';
import { TailscaleLambdaProxyProps } from './tailscale-lambda-proxy-props';
import { isWithin } from './target-entry';
import { urlOptions } from './url-options';
import { environmentBytes, ENVIRONMENT_BYTES } from './validate-proxy';
import { isListToken, refusal, Validation } from './validation';
import { warnOfRegion } from './warn-of-proxy';
import { warn, Warning } from './warnings';

/** What Lambda takes as an alias's name, but for digits alone, which name a version. */
const NAME = /^(?!\d+$)[A-Za-z0-9_-]{1,128}$/;

/**
 * The profiles of a proxy.
 * @internal
 */
export class ProxyProfiles {
  private readonly profiles = new Map<string, TailscaleLambdaProxyProfile>();
  private readonly settings: ProfileSettings[] = [];
  private readonly validation: Validation;

  /**
   * @param proxy what profiles are made in, and their problems reported of
   * @param fn the proxy's function
   * @param version what their aliases lead to: the version of the proxy's own alias, so that they share its environments
   * @param props the proxy's
   */
  constructor(
    private readonly proxy: Construct,
    private readonly fn: lambda.Function,
    private readonly version: lambda.IVersion,
    private readonly props: TailscaleLambdaProxyProps,
  ) {
    this.validation = new Validation(proxy);
    proxy.node.addValidation({ validate: () => this.sizeProblems() });
  }

  /** Adds a profile. After a refusal the synthesis fails in any case, and what is returned lets it check the rest of the app first. */
  public add(name: string, options: TailscaleLambdaProxyProfileOptions): TailscaleLambdaProxyProfile {
    const namesake = this.profiles.get(name);
    if (namesake) {
      this.validation.refuse('a profile\'s name', `"${name}" a second time`, 'use another name, or what the first addProfile returned');
      return namesake;
    }
    const validation = new Validation(this.proxy);
    validateName(validation, name);
    const isNamed = !validation.failed;
    validateTargets(validation, name, options.allowedTargets);
    const ownName = isNamed ? name : `refused-${this.profiles.size}`;
    const profile = TailscaleLambdaProxyProfile._make(this.proxy, `profile-${ownName}`, {
      name: ownName,
      version: this.version,
      functionUrl: options.functionUrl === false ? undefined : urlOptions(this.props),
    });
    this.profiles.set(name, profile);
    if (!validation.failed) {
      this.settings.push({ name, allowedTargets: options.allowedTargets });
      Object.entries(profilesEnvironment(this.settings)).forEach(([variable, value]) => this.fn.addEnvironment(variable, value));
      this.warnOf(profile, options);
    }
    return profile;
  }

  private warnOf(profile: TailscaleLambdaProxyProfile, options: TailscaleLambdaProxyProfileOptions): void {
    // With a URL of the proxy itself, the proxy warns.
    if (this.props.functionUrl === false && options.functionUrl !== false) {
      warnOfRegion(profile);
    }
    const { allowedTargets } = this.props;
    if (!allowedTargets || allowedTargets.some(isUnknown)) {
      return;
    }
    const outside = options.allowedTargets.filter((target) => !isUnknown(target) && !allowedTargets.some((allowed) => isWithin(target, allowed)));
    if (outside.length > 0) {
      warn(profile, Warning.PROFILE_TARGET, `${outside.join(', ')} is not within one entry of the proxy's allowedTargets, which hold for profiles as ` +
        'well: what is not in both lists is refused. Add it to the proxy\'s allowedTargets, or leave it out here.');
    }
  }

  /** At the end, when all profiles are known. */
  private sizeProblems(): string[] {
    if (this.settings.length === 0) {
      return [];
    }
    const known = this.settings.map(({ name, allowedTargets }) => ({ name, allowedTargets: allowedTargets.filter((target) => !isUnknown(target)) }));
    const bytes = environmentBytes(this.props, profilesEnvironment(known));
    return bytes <= ENVIRONMENT_BYTES ? [] : [refusal('the environment', `${bytes} bytes long with its profiles`,
      `Lambda has room for ${ENVIRONMENT_BYTES}: shorten the profiles' allowedTargets, or give some of them a proxy of their own`)];
  }
}

function validateName(validation: Validation, name: string): void {
  const prop = 'a profile\'s name';
  if (Token.isUnresolved(name)) {
    validation.refuse(prop, 'one that only the deployment knows', 'the proxy\'s setting and the alias are named by it: write it out');
  }
  validation.text(prop, name, NAME, 'use 1 to 128 letters, digits, hyphens and underscores, and not digits alone');
  if (name === LIVE) {
    validation.refuse(prop, `"${name}"`, 'the proxy\'s own alias has it: use another');
  }
}

function validateTargets(validation: Validation, name: string, targets: string[]): void {
  const prop = `allowedTargets of profile "${name}"`;
  if (!Token.isUnresolved(targets) && targets.length === 0) {
    validation.refuse(prop, 'an empty list', 'name at least one target; callers that may name all of the proxy\'s need no profile');
    return;
  }
  validation.targets(prop, targets);
  for (const target of targets.filter((entry) => !isUnknown(entry) && /[;=]/.test(entry))) {
    validation.refuse(prop, `one that has "${target}"`, 'no target has semicolons or equals signs, which separate profiles: write one target per entry');
  }
}

function isUnknown(target: string): boolean {
  return isListToken(target) || Token.isUnresolved(target);
}
