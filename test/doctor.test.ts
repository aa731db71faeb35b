import { parse } from '../cli/arguments';
import { element } from '../cli/aws';
import { explain, interpret } from '../cli/doctor';
import { firstBroken, tree } from '../cli/report';

const URL = ['--url', 'https://abc.lambda-url.eu-central-1.on.aws/'];

test('the region is the host\'s, and an IPv6 target goes in brackets', () => {
  const { question } = parse(['doctor', ...URL, '--target', '[fd7a:115c:a1e0::7]:443']);

  expect(question).toMatchObject({ region: 'eu-central-1', target: { host: 'fd7a:115c:a1e0::7', port: '443' } });
});

test.each([
  [['doctor', '--target', 'a:1'], '--url is missing'],
  [['doctor', ...URL], '--target is missing'],
  [['doctor', ...URL, '--target', 'a'], '--target is \'a\''],
  [['doctor', '--url', 'abc', '--target', 'a:1'], '--url is \'abc\''],
  [['doctor', '--url', 'https://proxy.example.com/', '--target', 'a:1'], '--region is missing'],
  [['doctor', ...URL, '--target', 'a:1', '--https', 'yes'], '--https is \'yes\''],
  [['surgeon'], 'the command is \'surgeon\''],
])('%j is refused', (args, message) => {
  expect(() => parse(args)).toThrow(message);
});

/** An answer of the URL. */
function answer(status: number, headers: Record<string, string> = {}, body = '') {
  return { status, headers: new Headers(headers), body };
}

test.each([
  [answer(200), 'ok', 'answered 200', undefined],
  [answer(503), 'ok', 'answered 503', undefined],
  [answer(403, { 'x-amzn-errortype': 'AccessDeniedException' }, '{"Message":"Forbidden"}'), 'failed', '403', /grantInvokeUrl/],
  [answer(403, { 'x-amzn-errortype': 'X:y' }, 'The security token included in the request is expired'), 'failed', 'expired', /clock/],
  [answer(429, { 'x-amzn-errortype': 'TooManyRequestsException' }), 'failed', '429', /reservedConcurrentExecutions/],
  [answer(502, { 'x-amzn-errortype': 'InternalServerErrorException' }), 'failed', '502', /log/],
  [answer(503, { 'ts-error-name': 'TailnetUnavailable', 'ts-error-message': 'AuthKeyRejected: no; fix: renew the key' }), 'failed',
    '503 TailnetUnavailable: AuthKeyRejected: no', /^renew the key$/],
])('an answer is told as what it is: %#', (said, outcome, detail, fix) => {
  const finding = interpret(said);

  expect([finding.outcome, finding.detail]).toEqual([outcome, expect.stringContaining(detail)]);
  if (fix) expect(finding.fix).toMatch(fix);
});

const MACHINE = { name: 'lambda-proxy.tail1.ts.net', addresses: ['100.64.0.7'], tags: ['tag:proxy'], derpRegion: 'fra', health: [] };
const PEER = { name: 'db.tail1.ts.net', online: true, derpRegion: 'nyc', answers: true, roundTripUs: 81_500 };
const STEP = { ms: 3 };

test('a way without a fault is told link by link', () => {
  const findings = explain({
    version: '1.2.3',
    allowed: STEP,
    tailnet: { machine: MACHINE, way: { addresses: ['100.64.0.9'], covered: true, peer: PEER } },
    connection: STEP,
    tls: STEP,
  });

  expect(firstBroken(findings)).toBeUndefined();
  expect(tree(findings)).toContain('✓ peer: db.tail1.ts.net answers by DERP region nyc, 81.5 ms');
  expect(tree(findings)).toMatch(/the target can be reached$/);
});

test.each([
  ['extension', { extensionError: 'ExtensionMissing: not running' }],
  ['login', { tailnet: { trouble: 'AuthKeyRejected: rejected; fix: renew it' } }],
  ['allowed targets', { tailnet: { machine: MACHINE }, allowed: { ms: 0, error: { name: 'TargetNotAllowed', message: 'no' } } }],
  ['name', { tailnet: { way: { addresses: [], covered: false, refusal: { reason: 'unknownName', message: 'no' } } } }],
  ['coverage', { tailnet: { way: { addresses: [], covered: false, refusal: { reason: 'notAllowed', message: 'no' } } } }],
  ['peer', { tailnet: { way: { addresses: ['100.64.0.9'], covered: true, peer: { ...PEER, answers: false } } } }],
  ['connection', { tailnet: {}, connection: { ms: 5000, error: { name: 'TargetTimeout', message: 'no' } } }],
  ['TLS', { tailnet: {}, connection: STEP, tls: { ms: 5, error: { name: 'TargetUnreachable', message: 'no' } } }],
])('a fault of the %s is the first one that is named, with its fix', (check, report) => {
  const broken = firstBroken(explain({ version: '1.2.3', allowed: STEP, ...report }));

  expect(broken?.check).toBe(check);
  expect(broken?.fix).toBeTruthy();
});

test.each([
  ['authKey', 'an auth key'], ['oauthClient', 'OAuth client'], ['workloadIdentity', 'workload identity'], ['anotherKind', 'anotherKind'],
])('a key of the kind %s is named, also where the login fails', (key, words) => {
  const findings = explain({ version: '1.2.3', allowed: STEP, tailnet: { key, trouble: 'TagsRejected: no; fix: let the key have them' } });

  expect(findings.find(({ check }) => check === 'key')).toMatchObject({ outcome: 'ok', detail: expect.stringContaining(words) });
  expect(firstBroken(findings)).toMatchObject({ check: 'login', fix: 'let the key have them' });
});

test('AWS\'s answers are read', () => {
  expect(element('<A><Arn>arn:aws:iam::1:user/a</Arn></A>', 'Arn')).toBe('arn:aws:iam::1:user/a');
  expect(element('<A/>', 'Arn')).toBeUndefined();
});
