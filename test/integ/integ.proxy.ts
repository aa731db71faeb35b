// What only AWS can show: which signatures it takes, what it does to headers, and whether answers leave as they come.
//
// `npm run integ` wants credentials for AWS; in their account, in us-east-1 (or the region of `--parallel-regions`), a
// secret `tailscale-api-key` with an auth key; and in the tailnet a machine `httpbin` that runs go-httpbin on port 8080,
// open for the key's tags.
import * as fs from 'fs';
import * as path from 'path';
import { ExpectedResult, IntegTest, Match } from '@aws-cdk/integ-tests-alpha';
import { App, Duration, Stack } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { expected, Row, signingTable } from './signing-table';
import { TailscaleLambdaProxy } from '../../src';

/** Names, not settings: they are in the snapshot, and a tailnet's own names are not to be. */
const TARGET = { TARGET_HOST: 'httpbin', TARGET_PORT: '8080' };
/** How many paths one assertion asks for: what CloudFormation hears of it, and of its failure, may have 4 KB. */
const AT_ONCE = 6;
const EXAMPLES = path.join(__dirname, '..', '..', 'examples');

const app = new App({ treeMetadata: false });
const stack = new Stack(app, 'TailscaleLambdaProxyInteg');
const secret = Secret.fromSecretNameV2(stack, 'AuthKey', 'tailscale-api-key');
const buffered = makeProxy('Buffered', lambda.InvokeMode.BUFFERED);
const streaming = makeProxy('Streaming', lambda.InvokeMode.RESPONSE_STREAM);
const bufferedCaller = makeCaller('BufferedCaller', buffered);
const streamingCaller = makeCaller('StreamingCaller', streaming);
const pythonCaller = new lambda.Function(stack, 'PythonCaller', {
  runtime: lambda.Runtime.PYTHON_3_13,
  handler: 'index.handler',
  code: lambda.Code.fromInline([path.join(EXAMPLES, 'python', 'functions', 'tailnet.py'), path.join(__dirname, 'caller.py')]
    .map((file) => fs.readFileSync(file, 'utf8')).join('')),
  timeout: Duration.minutes(1),
  environment: { TS_PROXY_URL: buffered.lambdaFunctionUrl.url, ...TARGET },
});
buffered.grantInvokeUrl(pythonCaller);

// The snapshot comes without its zips: it cannot be deployed, to be updated then.
const test = new IntegTest(app, 'Proxy', { testCases: [stack], diffAssets: false, stackUpdateWorkflow: false });

// A plain request, and a header that AWS renames in both modes.
const PLAIN = '/anything/plain';
const LOCKED = '/basic-auth/user/password';
// Three bytes, evenly within three seconds.
const SLOW = '/drip?numbytes=3&duration=3&delay=0';
for (const [caller, cameBitByBit] of [[bufferedCaller, false], [streamingCaller, true]] as const) {
  expectAnswers(caller, {
    [PLAIN]: { status: 200, arrived: '/plain' },
    [LOCKED]: { status: 401, headers: { 'x-amzn-remapped-www-authenticate': 'Basic realm="Fake Realm"' } },
    [SLOW]: { status: 200, bytes: 3, cameBitByBit },
  });
}

// Every row of the table, and what it leaves open: where AWS refuses these two, the page is to say so.
const OPEN: Row[] = ['/caf%E9', '/?a=1&&b=2'].map((asked) => ({ asked, typescript: 'as is', python: 'as is' }));
expectAnswers(bufferedCaller, echoes('typescript', [...signingTable(), ...OPEN]));
expectAnswers(pythonCaller, echoes('python', signingTable()));

function makeProxy(id: string, invokeMode: lambda.InvokeMode): TailscaleLambdaProxy {
  return new TailscaleLambdaProxy(stack, id, { tsSecretApiKey: secret, tsHostname: `integ-${id.toLowerCase()}`, invokeMode });
}

function makeCaller(id: string, proxy: TailscaleLambdaProxy): lambda.Function {
  const caller = new NodejsFunction(stack, id, {
    entry: path.join(__dirname, 'caller.ts'),
    runtime: lambda.Runtime.NODEJS_22_X,
    timeout: Duration.minutes(1),
    environment: { TS_PROXY_URL: proxy.lambdaFunctionUrl.url, ...TARGET },
    bundling: { bundleAwsSDK: true },
  });
  proxy.grantInvokeUrl(caller);
  return caller;
}

/** Has a caller ask for all paths, and compares what is named of each answer. */
function expectAnswers(caller: lambda.Function, answers: Record<string, object>): void {
  const all = Object.entries(answers);
  for (let begin = 0; begin < all.length; begin += AT_ONCE) {
    const some = all.slice(begin, begin + AT_ONCE);
    const patterns = Object.fromEntries(some.map(([asked, answer]) => [asked, Match.objectLike(answer)]));
    test.assertions
      .invokeFunction({ functionName: caller.functionName, payload: JSON.stringify(some.map(([asked]) => asked)) })
      .expect(ExpectedResult.objectLike({ Payload: Match.serializedJson(Match.objectLike(patterns)) }));
  }
}

function echoes(language: 'typescript' | 'python', rows: Row[]): Record<string, object> {
  return Object.fromEntries(rows.map((row) => [`/anything${row.asked}`, expected(row.asked, row[language])]));
}
