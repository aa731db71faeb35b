// The callers' functions of the examples sign for the region in which the proxy is.
import { spawnSync } from 'child_process';
import * as path from 'path';
import { testWithPython } from './prerequisite';
import { tailnetFetch } from '../examples/typescript/functions/tailnet';

const PYTHON = path.join(__dirname, '..', '.venv', 'bin', 'python');
const FUNCTIONS = path.join(__dirname, '..', 'examples', 'python', 'functions');
const ENVIRONMENT = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' };

const CASES = [
  ['https://abc.lambda-url.us-east-2.on.aws/', 'us-east-2'],
  ['http://127.0.0.1:9000/', 'eu-west-1'],
];

test.each(CASES)('TypeScript: a request to %s is signed for %s', async (url, region) => {
  Object.assign(process.env, ENVIRONMENT, { TS_PROXY_URL: url });
  const asked = jest.spyOn(global, 'fetch').mockResolvedValue(new Response('hello'));

  await tailnetFetch({ host: '100.64.0.7', port: 8080 }, '/reports');

  const headers = asked.mock.calls[0][1]?.headers as Record<string, string>;
  expect(headers.authorization).toContain(`/${region}/lambda/aws4_request`);
});

testWithPython().each(CASES)('Python: a request to %s is signed for %s', (url, region) => {
  const script = [
    'import types, tailnet',
    'def request(method, url, headers, **rest):',
    '    print(headers["Authorization"])',
    '    return types.SimpleNamespace(headers={})',
    'tailnet._http = types.SimpleNamespace(request=request)',
    'tailnet.request("100.64.0.7", 8080, "GET", "/reports")',
  ].join('\n');

  const { stdout, stderr } = spawnSync(PYTHON, ['-c', script], {
    cwd: FUNCTIONS, env: { ...process.env, ...ENVIRONMENT, TS_PROXY_URL: url, PYTHONDONTWRITEBYTECODE: '1' }, encoding: 'utf8',
  });

  expect(stderr).toBe('');
  expect(stdout).toContain(`/${region}/lambda/aws4_request`);
});
