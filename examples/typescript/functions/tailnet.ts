import { Sha256 } from '@aws-crypto/sha256-js';
import { fromEnv } from '@aws-sdk/credential-provider-env';
import { HttpRequest } from '@smithy/protocol-http';
import { SignatureV4 } from '@smithy/signature-v4';

/** A machine in the tailnet: its address or MagicDNS name, and a port. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** What to send: a GET without headers or body, unless this says otherwise. */
export interface Init {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array<ArrayBuffer>;
}

/** The machine was not reached: the proxy answered in its place. */
export class TailnetError extends Error {
  constructor(readonly status: number, name: string, message: string) {
    super(message);
    this.name = name;
  }
}

/** Sends a request to a machine in the tailnet, and returns its answer, whatever its status. */
export async function tailnetFetch(target: Target, pathAndQuery: string, init: Init = {}): Promise<Response> {
  const url = new URL((process.env.TS_PROXY_URL ?? '').replace(/\/$/, '') + pathAndQuery);
  // The proxy's region, which may be another than the caller's, is in its address.
  const region = /\.lambda-url\.([^.]+)\./.exec(url.hostname)?.[1] ?? process.env.AWS_REGION ?? '';
  const method = init.method ?? 'GET';
  const signer = new SignatureV4({ service: 'lambda', region, credentials: fromEnv(), sha256: Sha256 });
  const signed = await signer.sign(new HttpRequest({
    method,
    protocol: url.protocol,
    hostname: url.hostname,
    path: url.pathname,
    query: multimap(url.searchParams),
    headers: { ...init.headers, 'host': url.host, 'ts-target-ip': target.host, 'ts-target-port': `${target.port}` },
    body: init.body,
  }));

  // A redirect is an answer of the machine's, whose addresses are not the proxy's.
  const answer = await fetch(url, { method, headers: signed.headers, body: init.body, redirect: 'manual' });
  const error = answer.headers.get('ts-error-name');
  if (error !== null) {
    throw new TailnetError(answer.status, error, answer.headers.get('ts-error-message') ?? '');
  }
  return answer;
}

function multimap(parameters: URLSearchParams): Record<string, string[]> {
  return Object.fromEntries([...parameters.keys()].map((name) => [name, parameters.getAll(name)]));
}
