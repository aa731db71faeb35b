import { parseArgs } from 'node:util';
import { Question } from './doctor';

export const USAGE = `usage: tailscale-lambda-proxy doctor --url URL --target HOST:PORT [--function NAME] [--https true|false]
                                      [--region REGION] [--profile NAME] [--json]

Checks each link of the way from this machine through the proxy to a target, and names the first broken one.
  --url       the proxy's Function URL
  --target    a tailnet address or MagicDNS name, and a port: 100.64.0.7:8080, [fd7a:115c:a1e0::7]:8080, db.tail1234.ts.net:443
  --function  the proxy function's name or ARN: also checks the permissions, and asks the function what it sees
  --https     whether to speak TLS to the target; by default exactly on port 443
  --region    the URL's region, where its host does not tell
  --profile   the AWS profile whose credentials sign
  --json      the findings as JSON
It ends with 0 if the target can be reached, with 1 if not, with 2 if it was asked wrongly.`;

/** A mistake of whoever typed the command. */
export class UsageError extends Error {}

/** Reads the command's arguments. */
export function parse(args: string[]): { question: Question; json: boolean } {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      url: { type: 'string' },
      target: { type: 'string' },
      function: { type: 'string' },
      https: { type: 'string' },
      region: { type: 'string' },
      profile: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  if (positionals.length !== 1 || positionals[0] !== 'doctor') {
    throw new UsageError(`the command is '${positionals.join(' ')}': it must be 'doctor'`);
  }
  const url = parseUrl(values.url);
  const region = values.region ?? /\.lambda-url\.([^.]+)\.on\.aws$/.exec(url.hostname)?.[1];
  if (!region) throw new UsageError(`--region is missing, and the host ${url.hostname} is not ID.lambda-url.REGION.on.aws`);
  if (values.https !== undefined && !['true', 'false'].includes(values.https)) {
    throw new UsageError(`--https is '${values.https}': it must be true or false`);
  }
  const target = { ...parseTarget(values.target), https: values.https };
  return { question: { url, region, target, functionName: values.function, profile: values.profile }, json: values.json };
}

function parseUrl(text?: string): URL {
  if (text === undefined) throw new UsageError('--url is missing: it must be the proxy\'s Function URL');
  if (!URL.canParse(text)) throw new UsageError(`--url is '${text}': it must be a URL such as https://ID.lambda-url.eu-central-1.on.aws/`);
  return new URL(text);
}

function parseTarget(text?: string): { host: string; port: string } {
  const parts = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d+)$/.exec(text ?? '');
  if (!parts) {
    throw new UsageError(`--target is ${text === undefined ? 'missing' : `'${text}'`}: it must be HOST:PORT, an IPv6 address in brackets`);
  }
  return { host: parts[1] ?? parts[2], port: parts[3] };
}
