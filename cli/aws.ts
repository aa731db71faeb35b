import { Sha256 } from '@aws-crypto/sha256-js';
import { defaultProvider } from '@aws-sdk/credential-provider-node';
import { SignatureV4 } from '@smithy/signature-v4';

/** How long any call may take: longer than a function's longest cold start and a target's response time-out. */
const CALL_LIMIT_MS = 60_000;

/** Credentials, wherever the AWS SDKs find them: variables, profiles, SSO, container and web identity roles. */
export type Credentials = Awaited<ReturnType<ReturnType<typeof defaultProvider>>>;

/** Finds credentials; throws what the SDK says if there are none. */
export function findCredentials(profile?: string): Promise<Credentials> {
  return defaultProvider({ profile })();
}

export interface Call {
  readonly service: string;
  readonly region: string;
  readonly url: URL;
  readonly method: 'GET' | 'POST';
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** Signs a call (Signature Version 4), sends it, and reads the answer. */
export async function signedCall(call: Call, credentials: Credentials): Promise<Answer> {
  const signer = new SignatureV4({ credentials, region: call.region, service: call.service, sha256: Sha256 });
  const { url } = call;
  const signed = await signer.sign({
    method: call.method,
    protocol: url.protocol,
    hostname: url.hostname,
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    headers: { ...call.headers, host: url.host },
    body: call.body,
  });
  // fetch sets the host itself, from the URL.
  const { host: _, ...headers } = signed.headers;
  const signal = AbortSignal.timeout(CALL_LIMIT_MS);
  const response = await fetch(url, { method: call.method, headers, body: call.body, redirect: 'manual', signal });
  return { status: response.status, headers: response.headers, body: await response.text() };
}

/** The endpoint of a service, as the SDKs find it: the variable `AWS_ENDPOINT_URL_…` wins. */
export function endpoint(service: string, host: string): URL {
  return new URL(process.env[`AWS_ENDPOINT_URL_${service.toUpperCase()}`] ?? `https://${host}`);
}

/** The host of a service in a region. */
export function regionalHost(service: string, region: string): string {
  return `${service}.${region}.${region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com'}`;
}

/** A call of AWS's query protocol, which STS and IAM speak. */
export function queryCall(service: 'sts' | 'iam', region: string, fields: Record<string, string>): Call {
  const version = { sts: '2011-06-15', iam: '2010-05-08' }[service];
  // IAM is global: its endpoint is in the partition's first region.
  const place = service === 'iam' ? iamPlace(region) : { host: regionalHost('sts', region), region };
  return {
    service,
    region: place.region,
    url: endpoint(service, place.host),
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ Version: version, ...fields }).toString(),
  };
}

function iamPlace(region: string): { host: string; region: string } {
  if (region.startsWith('cn-')) return { host: 'iam.cn-north-1.amazonaws.com.cn', region: 'cn-north-1' };
  if (region.startsWith('us-gov-')) return { host: 'iam.us-gov.amazonaws.com', region: 'us-gov-west-1' };
  return { host: 'iam.amazonaws.com', region: 'us-east-1' };
}

/** The text of the first element of this name in an XML answer. */
export function element(xml: string, name: string): string | undefined {
  return new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
}
