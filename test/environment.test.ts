import { Duration, Stack } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import * as ssm from 'aws-cdk-lib/aws-ssm';
import { TailscaleJoin, TailscaleMetricsOutput } from '../src';
import contract from './fixtures/environment.json';
import { callerEnvironment, extensionEnvironment, profilesEnvironment, proxyEnvironment, Variable, warmerEnvironment } from '../src/environment';

const SECRET_ARN = 'arn:aws:secretsmanager:eu-west-1:111122223333:secret:tailscale-api-key-AbCdEf';
const secret = secretsmanager.Secret.fromSecretCompleteArn(new Stack(), 'Secret', SECRET_ARN);

const parameter = ssm.StringParameter.fromSecureStringParameterAttributes(new Stack(), 'Parameter', { parameterName: '/tailscale/auth-key' });

/** No function has all of these: only one of the credentials. */
const everyOption = {
  tsSecretApiKey: secret,
  tsAuthKeyParameter: parameter,
  tsWorkloadIdentity: {
    clientId: 'TAbCdEfCNTRL-kGhIjKl', audience: 'api.tailscale.com/TAbCdEfCNTRL-kGhIjKl', tags: ['tag:lambda', 'tag:prod'],
  },
  tsSecretField: 'authKey',
  tsHostname: 'lambda-proxy',
  tsAdvertiseTags: 'tag:lambda,tag:prod',
  tsExitNode: '100.64.0.7',
  tsExitNodeRequired: true,
  tsExitNodePingTimeout: 500,
  tsExitNodePingRetries: 4,
  tsControlUrl: 'https://headscale.example.com',
  tsShieldsUp: false,
  tsRequireTailnet: true,
  tsJoin: TailscaleJoin.INIT,
  forwards: [{ localPort: 5432, target: 'db.example.ts.net:5432' }, { localPort: 6379, target: '100.64.0.7:6379' }],
  debug: true,
};

const everySetting = {
  connectTimeout: Duration.seconds(3),
  responseTimeout: Duration.minutes(1),
  firstByteTimeout: Duration.seconds(45),
  idleTimeout: Duration.seconds(30),
  invokeMode: lambda.InvokeMode.RESPONSE_STREAM,
  caCertificates: '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
  caCertificatesFile: '/opt/authorities.pem',
  clientCertificateSecret: secret,
  skipTlsVerification: true,
  forwardCallerArn: true,
  allowedTargets: ['10.1.0.0/16', 'db.example.ts.net:5432'],
  allowUncoveredTargets: true,
  metrics: { output: TailscaleMetricsOutput.EMBEDDED, details: true, proxyCounts: false, proxyName: 'office/proxy', interval: Duration.minutes(1), budget: Duration.millis(50) },
};

const everyProfile = [
  { name: 'billing', allowedTargets: ['10.1.0.0/16', 'db.example.ts.net:5432'] },
  { name: 'web', allowedTargets: ['wiki:80'] },
];

function examplesOf(owners: string[]): Record<string, string> {
  const own = contract.filter(({ owner }) => owners.includes(owner));
  return Object.fromEntries(own.map(({ name, example }) => [name, example]));
}

test('a proxy\'s function gets the variables of the contract, and no others', () => {
  const examples = examplesOf(['extension', 'proxy']);

  expect({ ...extensionEnvironment(everyOption), ...proxyEnvironment(everySetting), ...profilesEnvironment(everyProfile) }).toEqual(examples);
});

test('a warmer\'s function gets what it reads, and nothing else', () => {
  const settings = { function: 'arn:aws:lambda:eu-west-1:111122223333:function:proxy:live', invocations: 5, debug: true };

  expect(warmerEnvironment(settings)).toEqual(examplesOf(['warmer']));
});

test('a caller\'s layer gets what it reads, and nothing else', () => {
  const settings = {
    targets: ['10.1.0.0/16', '*.example.ts.net:8080', '<local>'], metricService: 'billing', metricDimensionName: 'route', metricDimensionValue: 'invoices',
  };
  const { TS_PROXY_URL, TS_PROXY_FUNCTION, TS_DEBUG, ...others } = examplesOf(['caller']);

  expect(callerEnvironment(settings)).toEqual(others);
  expect([TS_PROXY_URL, TS_PROXY_FUNCTION, TS_DEBUG]).not.toContain(undefined);
});

test('a function with the extension alone gets only what the extension reads', () => {
  const read = contract.filter(({ owner }) => owner === 'extension').map(({ name }) => name);

  expect(read).toEqual(expect.arrayContaining(Object.keys(extensionEnvironment(everyOption))));
});

test('the contract names every variable', () => {
  expect(new Set(contract.map(({ name }) => name))).toEqual(new Set(Object.values(Variable)));
});

test('what is not set is not rendered: the defaults are the binaries\' own', () => {
  expect(extensionEnvironment({ tsSecretApiKey: secret, tsHostname: 'lambda-proxy' }))
    .toEqual({ TS_SECRET_API_KEY: SECRET_ARN, TS_HOSTNAME: 'lambda-proxy' });
});

test('a proxy\'s function is served by tailscaled itself: no other function is told so', () => {
  expect(proxyEnvironment({})).toEqual({ TS_DIRECT_SOCKS: 'true' });
  expect(extensionEnvironment(everyOption)).not.toHaveProperty('TS_DIRECT_SOCKS');
});

test('empty texts and switches that are as by default count as unset', () => {
  const options = {
    tsSecretField: '', tsAdvertiseTags: '', tsExitNode: '', tsExitNodeRequired: false, tsControlUrl: '', tsShieldsUp: true, tsRequireTailnet: false, debug: false,
  };

  expect(Object.keys(extensionEnvironment({ tsSecretApiKey: secret, tsHostname: 'lambda-proxy', ...options })))
    .toEqual(['TS_SECRET_API_KEY', 'TS_HOSTNAME']);
});

test('a time-out of less than a second keeps its milliseconds', () => {
  expect(proxyEnvironment({ connectTimeout: Duration.millis(1500) })).toMatchObject({ TS_CONNECT_TIMEOUT: '1500' });
});
