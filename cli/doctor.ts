import { Answer, Credentials, element, endpoint, findCredentials, queryCall, regionalHost, signedCall } from './aws';
import { failed, failedWith, Finding, firstBroken, ok, skipped } from './report';

/** What the doctor is asked. */
export interface Question {
  /** The proxy's Function URL. */
  readonly url: URL;
  /** The URL's region. */
  readonly region: string;
  /** What a request would name its target by. */
  readonly target: { readonly host: string; readonly port: string; readonly https?: string };
  /** The function's name or ARN: for the permissions, and for what the function itself sees. */
  readonly functionName?: string;
  /** The AWS profile. */
  readonly profile?: string;
}

/** The proxy's part of a diagnosis: rust/proxy/src/diagnose.rs. */
interface Report {
  readonly version: string;
  readonly allowed: Step;
  readonly tailnet?: Diagnosis;
  readonly extensionError?: string;
  readonly connection?: Step;
  readonly tls?: Step;
}

interface Step {
  readonly ms: number;
  readonly error?: { readonly name: string; readonly message: string };
}

/** The extension's part: rust/tailnet/src/diagnosis.rs. */
interface Diagnosis {
  readonly key?: string;
  readonly trouble?: string;
  readonly machine?: {
    readonly name: string;
    readonly addresses: string[];
    readonly tags: string[];
    readonly derpRegion: string;
    readonly keyExpiry?: string;
    readonly health: string[];
  };
  readonly way?: {
    readonly addresses: string[];
    readonly refusal?: { readonly reason: string; readonly message: string };
    readonly covered: boolean;
    readonly peer?: {
      readonly name: string;
      readonly online: boolean;
      readonly direct?: string;
      readonly derpRegion: string;
      readonly answers: boolean;
      readonly roundTripUs?: number;
    };
  };
}

/** The permissions that a call of a Function URL takes, with the condition keys that come with it. */
const PERMISSIONS = [
  { action: 'lambda:InvokeFunctionUrl', key: 'lambda:FunctionUrlAuthType', value: 'AWS_IAM', type: 'string' },
  { action: 'lambda:InvokeFunction', key: 'lambda:InvokedViaFunctionUrl', value: 'true', type: 'boolean' },
];

/** Checks each link of the way to the target, in order. Later ones are left out where they need an earlier one. */
export async function examine(question: Question): Promise<Finding[]> {
  const found = await credentials(question);
  if (!found.credentials) return [found.finding];
  const findings = [found.finding];
  const who = await identity(question, found.credentials);
  findings.push(who.finding);
  if (firstBroken(findings)) return findings;
  findings.push(await permissions(question, found.credentials, who.arn));
  const request = await signedRequest(question, found.credentials);
  // What the function sees tells more than the answer of the URL, and comes before it in the tree.
  return [...findings, ...await seenByTheFunction(question, found.credentials), request];
}

async function credentials({ profile }: Question): Promise<{ finding: Finding; credentials?: Credentials }> {
  const check = 'AWS credentials';
  try {
    const found = await findCredentials(profile);
    return { finding: ok(check, `access key ${found.accessKeyId}`), credentials: found };
  } catch (error) {
    return { finding: failed(check, message(error), 'set AWS_PROFILE or AWS_ACCESS_KEY_ID, or run `aws sso login`') };
  }
}

async function identity({ region }: Question, creds: Credentials): Promise<{ finding: Finding; arn?: string }> {
  const check = 'identity';
  try {
    const answer = await signedCall(queryCall('sts', region, { Action: 'GetCallerIdentity' }), creds);
    const arn = element(answer.body, 'Arn');
    if (arn) return { finding: ok(check, arn), arn };
    const said = element(answer.body, 'Message') ?? `status ${answer.status}`;
    return { finding: failed(check, `AWS does not accept the credentials: ${said}`, 'renew them; check the machine\'s clock') };
  } catch (error) {
    // Without a way to STS the request itself still tells.
    return { finding: skipped(check, `STS cannot be reached: ${message(error)}`) };
  }
}

async function permissions(question: Question, creds: Credentials, arn?: string): Promise<Finding> {
  const check = 'permissions';
  const functionArn = arnOfFunction(question, arn);
  if (!arn || !functionArn) return skipped(check, 'give --function NAME to have IAM simulate them');
  const denied: string[] = [];
  for (const { action, key, value, type } of PERMISSIONS) {
    const call = queryCall('iam', question.region, {
      'Action': 'SimulatePrincipalPolicy',
      'PolicySourceArn': principal(arn),
      'ActionNames.member.1': action,
      'ResourceArns.member.1': functionArn,
      'ContextEntries.member.1.ContextKeyName': key,
      'ContextEntries.member.1.ContextKeyType': type,
      'ContextEntries.member.1.ContextKeyValues.member.1': value,
    });
    let answer;
    try {
      answer = await signedCall(call, creds);
    } catch (error) {
      return skipped(check, `IAM cannot be reached: ${message(error)}`);
    }
    const decision = element(answer.body, 'EvalDecision');
    if (!decision) return skipped(check, `IAM does not simulate them: ${element(answer.body, 'Message') ?? `status ${answer.status}`}`);
    if (decision !== 'allowed') denied.push(`${action} (${decision})`);
  }
  if (denied.length === 0) return ok(check, `${PERMISSIONS.map(({ action }) => action).join(', ')} by the caller's own policies`);
  return failed(check, `${arn} lacks ${denied.join(', ')} on ${functionArn}`, 'proxy.grantInvokeUrl(caller) grants both');
}

/** Sends a GET for `/` as any caller would. */
async function signedRequest({ url, region, target }: Question, creds: Credentials): Promise<Finding> {
  const headers = targetHeaders(target);
  try {
    return interpret(await signedCall({ service: 'lambda', region, url, method: 'GET', headers }, creds));
  } catch (error) {
    return failed(REQUEST, `${url.host} cannot be reached: ${message(error)}`,
      'check the URL (the stack\'s output) and this machine\'s way to the internet');
  }
}

const REQUEST = 'signed request';

/** The headers that a request names its target by. */
function targetHeaders({ host, port, https }: Question['target']): Record<string, string> {
  return { 'ts-target-ip': host, 'ts-target-port': port, ...https === undefined ? {} : { 'ts-https': https } };
}

/** What the answer of the URL means: the service's, the proxy's or the target's. */
export function interpret({ status, headers, body }: Answer): Finding {
  const name = headers.get('ts-error-name');
  if (name) {
    return failedWith(REQUEST, `${status} ${name}: ${headers.get('ts-error-message') ?? body}`,
      `docs/troubleshooting.md explains ${name}`);
  }
  // The service answers by itself in JSON, and names the kind of error.
  const kind = headers.get('x-amzn-errortype')?.split(':')[0];
  if (!kind) return ok(REQUEST, `the target answered ${status}`);
  const said = `the service answered ${status} ${kind}: ${body.trim().slice(0, 300)}`;
  switch (status) {
    case 403:
      return failed(REQUEST, said, /signature|token|expired/i.test(body)
        ? 'check the machine\'s clock, and that the credentials are the right ones'
        : 'the caller needs lambda:InvokeFunctionUrl and lambda:InvokeFunction: proxy.grantInvokeUrl(caller)');
    case 404:
      return failed(REQUEST, said, 'there is no such Function URL: take it from the stack\'s output');
    case 429:
      return failed(REQUEST, said, 'all environments are busy: raise reservedConcurrentExecutions, or the account\'s limit');
    case 502:
      return failed(REQUEST, said, 'the function failed before it could answer: its log says why');
    default:
      return failed(REQUEST, said, 'the function\'s log says more');
  }
}

/** Has the function itself look: an invocation, beside the URL. */
async function seenByTheFunction({ region, target, functionName }: Question, creds: Credentials): Promise<Finding[]> {
  const check = 'the function';
  if (!functionName) return [skipped(check, 'give --function NAME for its login, its path to the target and its log\'s words')];
  const url = endpoint('lambda', regionalHost('lambda', region));
  url.pathname = `/2015-03-31/functions/${encodeURIComponent(functionName)}/invocations`;
  const body = JSON.stringify({ diagnose: targetHeaders(target) });
  let answer: Answer;
  try {
    answer = await signedCall({ service: 'lambda', region, url, method: 'POST', body }, creds);
  } catch (error) {
    return [skipped(check, `Lambda cannot be reached: ${message(error)}`)];
  }
  if (answer.status === 403) return [skipped(check, `lambda:InvokeFunction without the URL is not allowed: ${answer.body.trim()}`)];
  if (answer.status !== 200) {
    return [failed(check, `Lambda answered ${answer.status}: ${answer.body.trim()}`, 'check --function and --region')];
  }
  if (answer.headers.get('x-amz-function-error')) return [functionError(answer.body)];
  return explain(JSON.parse(answer.body) as Report);
}

function functionError(body: string): Finding {
  const { errorMessage } = JSON.parse(body) as { errorMessage?: string };
  const said = errorMessage ?? body;
  return failedWith('the function', said, said.includes('must be a Function URL\'s request')
    ? 'the deployed proxy is older than this doctor: deploy it anew' : 'its log says more');
}

/** What a function logs in with. */
const KEYS: Record<string, string> = {
  authKey: 'an auth key that is stored',
  oauthClient: 'a stored secret of an OAuth client, which makes a new key for each login',
  workloadIdentity: 'the function\'s role (workload identity): no stored key',
};

/** The findings of a diagnosis, in the order of the way. */
export function explain(report: Report): Finding[] {
  const findings = [ok('the function', `version ${report.version}`)];
  const { tailnet } = report;
  if (!tailnet) {
    return [...findings, failedWith('extension', report.extensionError ?? 'it does not respond', 'attach the extension\'s layer')];
  }
  if (tailnet.key !== undefined) findings.push(ok('key', KEYS[tailnet.key] ?? tailnet.key));
  if (tailnet.trouble !== undefined) return [...findings, failedWith('login', tailnet.trouble, 'docs/troubleshooting.md has the code')];
  const machine = tailnet.machine;
  findings.push(machine
    ? ok('login', `in the tailnet as ${machine.name} (${machine.addresses.join(', ')}), ` +
      `${machine.tags.length > 0 ? machine.tags.join(', ') : 'no tags'}, DERP region ${machine.derpRegion || 'unknown'}` +
      (machine.health.length > 0 ? `; tailscaled warns: ${machine.health.join('; ')}` : ''))
    : ok('login', 'in the tailnet'));
  findings.push(step('allowed targets', report.allowed, 'the target may be asked for', 'add the target to allowedTargets'));
  if (tailnet.way) findings.push(...way(tailnet.way));
  if (report.connection) {
    findings.push(step('connection', report.connection, `opened in ${report.connection.ms} ms`,
      'see that the target listens on that port, and that the tailnet\'s policy lets the function\'s tags reach it'));
  }
  if (report.tls) {
    findings.push(step('TLS', report.tls, `a session in ${report.tls.ms} ms, the connection included`,
      'trust its authority by caCertificates; name it by ts-host; or ts-https: false'));
  }
  return findings;
}

function way({ addresses, refusal, covered, peer }: NonNullable<Diagnosis['way']>): Finding[] {
  if (refusal) {
    const unknown = refusal.reason === 'unknownName';
    return [failedWith(unknown ? 'name' : 'coverage', refusal.message, unknown
      ? 'check the name, and that MagicDNS or a name server of the tailnet knows it'
      : 'share the target with the function\'s tags in the tailnet\'s policy, or approve the route that leads to it')];
  }
  const findings = [covered
    ? ok('coverage', `the tailnet covers ${addresses.join(', ')}`)
    : ok('coverage', `the tailnet does not cover ${addresses.join(', ')}: it is reached by the function's own network`)];
  if (!peer) return findings;
  const path = peer.direct ? `directly, ${peer.direct}` : `by DERP region ${peer.derpRegion || 'unknown'}`;
  const time = peer.roundTripUs === undefined ? '' : `, ${(peer.roundTripUs / 1000).toFixed(1)} ms`;
  findings.push(peer.answers
    ? ok('peer', `${peer.name} answers ${path}${time}`)
    : failed('peer', `${peer.name} does not answer (${peer.online ? 'online' : 'offline'} by the control server)`,
      'see that Tailscale runs on it, and that its network lets it out'));
  return findings;
}

function step(check: string, { error }: Step, fine: string, fix: string): Finding {
  return error ? failedWith(check, `${error.name}: ${error.message}`, fix) : ok(check, fine);
}

/** The role of a session, as policies name it; anything else as it is. */
function principal(arn: string): string {
  const session = /^arn:([^:]+):sts::(\d+):assumed-role\/([^/]+)\//.exec(arn);
  return session ? `arn:${session[1]}:iam::${session[2]}:role/${session[3]}` : arn;
}

function arnOfFunction({ functionName, region }: Question, caller?: string): string | undefined {
  if (functionName === undefined || functionName.startsWith('arn:')) return functionName;
  const account = /^arn:([^:]+):[^:]*:[^:]*:(\d+):/.exec(caller ?? '');
  return account ? `arn:${account[1]}:lambda:${region}:${account[2]}:function:${functionName}` : undefined;
}

function message(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
