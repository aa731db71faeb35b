// The one table of what the constructs tell the binaries. test/fixtures/environment.json holds the same names for
// the tests of both sides.
import { Duration, Fn, Tokenization } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { secretId, secretOf } from './secret-validation';
import { TailscaleFunctionOptions } from './tailscale-function-options';
import { TailscaleMetricsOptions } from './tailscale-metrics-options';
import { isListToken } from './validation';

/**
 * The variables' names.
 * @internal
 */
export enum Variable {
  SECRET_API_KEY = 'TS_SECRET_API_KEY',
  AUTH_KEY_PARAMETER = 'TS_AUTH_KEY_PARAMETER',
  WORKLOAD_IDENTITY_CLIENT_ID = 'TS_WORKLOAD_IDENTITY_CLIENT_ID',
  WORKLOAD_IDENTITY_AUDIENCE = 'TS_WORKLOAD_IDENTITY_AUDIENCE',
  SECRET_FIELD = 'TS_SECRET_FIELD',
  HOSTNAME = 'TS_HOSTNAME',
  ADVERTISE_TAGS = 'TS_ADVERTISE_TAGS',
  EXIT_NODE = 'TS_EXIT_NODE',
  EXIT_NODE_REQUIRED = 'TS_EXIT_NODE_REQUIRED',
  EXIT_NODE_PING_TIMEOUT = 'TS_EXIT_NODE_PING_TIMEOUT',
  EXIT_NODE_PING_RETRIES = 'TS_EXIT_NODE_PING_RETRIES',
  CONTROL_URL = 'TS_CONTROL_URL',
  SHIELDS_UP = 'TS_SHIELDS_UP',
  REQUIRE_TAILNET = 'TS_REQUIRE_TAILNET',
  JOIN = 'TS_JOIN',
  FORWARDS = 'TS_FORWARDS',
  DEBUG = 'TS_DEBUG',
  CONNECT_TIMEOUT = 'TS_CONNECT_TIMEOUT',
  RESPONSE_TIMEOUT = 'TS_RESPONSE_TIMEOUT',
  FIRST_BYTE_TIMEOUT = 'TS_FIRST_BYTE_TIMEOUT',
  IDLE_TIMEOUT = 'TS_IDLE_TIMEOUT',
  INVOKE_MODE = 'TS_INVOKE_MODE',
  CA_CERTIFICATES = 'TS_CA_CERTIFICATES',
  CA_CERTIFICATES_FILE = 'TS_CA_CERTIFICATES_FILE',
  CLIENT_CERTIFICATE_SECRET = 'TS_CLIENT_CERTIFICATE_SECRET',
  SKIP_TLS_VERIFICATION = 'TS_SKIP_TLS_VERIFICATION',
  FORWARD_CALLER_ARN = 'TS_FORWARD_CALLER_ARN',
  ALLOWED_TARGETS = 'TS_ALLOWED_TARGETS',
  PROFILES = 'TS_PROFILES',
  ALLOW_UNCOVERED_TARGETS = 'TS_ALLOW_UNCOVERED_TARGETS',
  DIRECT_SOCKS = 'TS_DIRECT_SOCKS',
  WARMER_FUNCTION = 'TS_WARMER_FUNCTION',
  WARMER_INVOCATIONS = 'TS_WARMER_INVOCATIONS',
  METRICS = 'TS_METRICS',
  METRICS_DETAILS = 'TS_METRICS_DETAILS',
  METRICS_PROXY_COUNTS = 'TS_METRICS_PROXY_COUNTS',
  METRICS_PROXY_NAME = 'TS_METRICS_PROXY_NAME',
  METRICS_INTERVAL = 'TS_METRICS_INTERVAL',
  METRICS_BUDGET = 'TS_METRICS_BUDGET',
  PROXY_URL = 'TS_PROXY_URL',
  PROXY_FUNCTION = 'TS_PROXY_FUNCTION',
  PROXY_TARGETS = 'TS_PROXY_TARGETS',
  METRIC_SERVICE = 'TS_METRIC_SERVICE',
  METRIC_DIMENSION_NAME = 'TS_METRIC_DIMENSION_NAME',
  METRIC_DIMENSION_VALUE = 'TS_METRIC_DIMENSION_VALUE',
}

/**
 * What a proxy's function is told beyond how it joins the tailnet.
 * @internal
 */
export interface ProxySettings {
  readonly connectTimeout?: Duration;
  readonly responseTimeout?: Duration;
  readonly firstByteTimeout?: Duration;
  readonly idleTimeout?: Duration;
  readonly invokeMode?: lambda.InvokeMode;
  readonly caCertificates?: string;
  readonly caCertificatesFile?: string;
  readonly clientCertificateSecret?: secretsmanager.ISecret;
  readonly skipTlsVerification?: boolean;
  readonly forwardCallerArn?: boolean;
  readonly allowedTargets?: string[];
  readonly allowUncoveredTargets?: boolean;
  readonly metrics?: TailscaleMetricsOptions;
}

/**
 * A profile, as the proxy's function is told of it.
 * @internal
 */
export interface ProfileSettings {
  /** The alias's name. */
  readonly name: string;
  readonly allowedTargets: string[];
}

/**
 * What a warmer's function is told.
 * @internal
 */
export interface WarmerSettings {
  readonly function: string;
  readonly invocations: number;
  readonly debug?: boolean;
}

/**
 * What the layer of a caller is told, beside where the proxy is.
 * @internal
 */
export interface CallerSettings {
  readonly targets?: string[];
  readonly metricService?: string;
  readonly metricDimensionName?: string;
  readonly metricDimensionValue?: string;
}

/**
 * The variables that join a tailnet.
 * @internal
 */
export function extensionEnvironment(options: TailscaleFunctionOptions): Record<string, string> {
  const secret = secretOf(options);
  return withoutUnset({
    [Variable.SECRET_API_KEY]: secret && secretId(secret),
    [Variable.AUTH_KEY_PARAMETER]: options.tsAuthKeyParameter?.parameterName,
    [Variable.WORKLOAD_IDENTITY_CLIENT_ID]: options.tsWorkloadIdentity?.clientId,
    [Variable.WORKLOAD_IDENTITY_AUDIENCE]: options.tsWorkloadIdentity?.audience,
    [Variable.SECRET_FIELD]: options.tsSecretField,
    [Variable.HOSTNAME]: options.tsHostname,
    [Variable.ADVERTISE_TAGS]: joined(options.tsWorkloadIdentity?.tags) ?? options.tsAdvertiseTags,
    [Variable.EXIT_NODE]: options.tsExitNode,
    [Variable.EXIT_NODE_REQUIRED]: switchedOn(options.tsExitNodeRequired),
    [Variable.EXIT_NODE_PING_TIMEOUT]: digits(options.tsExitNodePingTimeout),
    [Variable.EXIT_NODE_PING_RETRIES]: digits(options.tsExitNodePingAttempts ?? options.tsExitNodePingRetries),
    [Variable.CONTROL_URL]: options.tsControlUrl,
    [Variable.SHIELDS_UP]: options.tsShieldsUp === false ? 'false' : undefined,
    [Variable.REQUIRE_TAILNET]: switchedOn(options.tsRequireTailnet),
    [Variable.JOIN]: options.tsJoin,
    [Variable.FORWARDS]: options.forwards?.map(({ localPort, target }) => `${digits(localPort)}=${target}`).join(','),
    [Variable.DEBUG]: switchedOn(options.debug),
  });
}

/**
 * The variables that a proxy's function has beyond those: the time-outs in milliseconds.
 * @internal
 */
export function proxyEnvironment(settings: ProxySettings): Record<string, string> {
  return withoutUnset({
    [Variable.CONNECT_TIMEOUT]: digits(settings.connectTimeout?.toMilliseconds()),
    [Variable.RESPONSE_TIMEOUT]: digits(settings.responseTimeout?.toMilliseconds()),
    [Variable.FIRST_BYTE_TIMEOUT]: digits(settings.firstByteTimeout?.toMilliseconds()),
    [Variable.IDLE_TIMEOUT]: digits(settings.idleTimeout?.toMilliseconds()),
    [Variable.INVOKE_MODE]: settings.invokeMode,
    [Variable.CA_CERTIFICATES]: settings.caCertificates,
    [Variable.CA_CERTIFICATES_FILE]: settings.caCertificatesFile,
    [Variable.CLIENT_CERTIFICATE_SECRET]: settings.clientCertificateSecret && secretId(settings.clientCertificateSecret),
    [Variable.SKIP_TLS_VERIFICATION]: switchedOn(settings.skipTlsVerification),
    [Variable.FORWARD_CALLER_ARN]: switchedOn(settings.forwardCallerArn),
    [Variable.ALLOWED_TARGETS]: joined(settings.allowedTargets),
    [Variable.ALLOW_UNCOVERED_TARGETS]: switchedOn(settings.allowUncoveredTargets),
    // The proxy asks the extension before it dials: it needs no server of the extension's in between.
    [Variable.DIRECT_SOCKS]: switchedOn(true),
    [Variable.METRICS]: settings.metrics?.output,
    [Variable.METRICS_DETAILS]: switchedOn(settings.metrics?.details),
    [Variable.METRICS_PROXY_COUNTS]: settings.metrics?.proxyCounts === false ? 'false' : undefined,
    [Variable.METRICS_PROXY_NAME]: settings.metrics?.proxyName,
    [Variable.METRICS_INTERVAL]: digits(settings.metrics?.interval?.toMilliseconds()),
    [Variable.METRICS_BUDGET]: digits(settings.metrics?.budget?.toMilliseconds()),
  });
}

/**
 * The variable that tells a proxy's function of its profiles; none without profiles.
 * @internal
 */
export function profilesEnvironment(profiles: ProfileSettings[]): Record<string, string> {
  return withoutUnset({
    [Variable.PROFILES]: profiles.map(({ name, allowedTargets }) => `${name}=${joined(allowedTargets)}`).join(';'),
  });
}

/**
 * The variables that make a function the warmer of a proxy.
 * @internal
 */
export function warmerEnvironment(settings: WarmerSettings): Record<string, string> {
  return withoutUnset({
    [Variable.WARMER_FUNCTION]: settings.function,
    [Variable.WARMER_INVOCATIONS]: digits(settings.invocations),
    [Variable.DEBUG]: switchedOn(settings.debug),
  });
}

/**
 * The variables of a caller's layer, beside where the proxy is.
 * @internal
 */
export function callerEnvironment(settings: CallerSettings): Record<string, string> {
  return withoutUnset({
    [Variable.PROXY_TARGETS]: joined(settings.targets),
    [Variable.METRIC_SERVICE]: settings.metricService,
    [Variable.METRIC_DIMENSION_NAME]: settings.metricDimensionName,
    [Variable.METRIC_DIMENSION_VALUE]: settings.metricDimensionValue,
  });
}

function switchedOn(value: boolean | undefined): string | undefined {
  return value ? 'true' : undefined;
}

/** A number as text, also one that only the deployment knows. */
function digits(value: number | undefined): string | undefined {
  return value === undefined ? undefined : Tokenization.stringifyNumber(value);
}

/**
 * A list as text, also where all of it, or some, is known to the deployment alone.
 * @internal
 */
export function joined(values: string[] | undefined): string | undefined {
  return values?.map((value) => isListToken(value) ? Fn.join(',', [value]) : value).join(',');
}

/** An empty text counts as unset, as it does for the binaries: `process.env.TAGS ?? ''` is a common way to pass a prop. */
function withoutUnset(variables: Record<string, string | undefined>): Record<string, string> {
  const set = Object.entries(variables).filter((entry): entry is [string, string] => Boolean(entry[1]));
  return Object.fromEntries(set);
}
