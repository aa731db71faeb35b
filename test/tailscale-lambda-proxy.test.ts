import { App, CfnResource, Duration, RemovalPolicy, Stack, Tags } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { FIXTURE_ASSETS, makeFunction, statements, urlStatements, variablesOf, warnings } from './constructs';
import { TailscaleLambdaProxy, TailscaleLambdaProxyProps } from '../src';

let stack: Stack;
let secret: secretsmanager.ISecret;

beforeEach(() => {
  stack = new Stack(new App(), 'Network');
  secret = secretsmanager.Secret.fromSecretNameV2(stack, 'tailscale-api-key', 'tailscale-api-key');
});

function makeProxy(props: Partial<TailscaleLambdaProxyProps> = {}, id = 'tailscale-proxy'): TailscaleLambdaProxy {
  return new TailscaleLambdaProxy(stack, id, { tsSecretApiKey: secret, tsHostname: 'lambda-test', ...props });
}

describe('the function', () => {
  test('runs the bootstrap on Amazon Linux 2023, with the layer and the environment', () => {
    const proxy = makeProxy();

    Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', {
      Runtime: 'provided.al2023',
      Handler: 'bootstrap',
      Architectures: ['x86_64'],
      MemorySize: 256,
      Timeout: 900,
      FunctionName: Match.absent(),
      Layers: [stack.resolve(proxy.extension.layer.layerVersionArn)],
      Environment: { Variables: { TS_SECRET_API_KEY: stack.resolve(secret.secretArn), TS_HOSTNAME: 'lambda-test' } },
    });
  });

  test('takes the known props', () => {
    makeProxy({
      tsAdvertiseTags: 'tag:lambda',
      tsExitNode: '100.64.0.7',
      tsExitNodeRequired: true,
      tsExitNodePingTimeout: 500,
      tsExitNodePingRetries: 4,
      debug: true,
      tsControlUrl: 'https://headscale.example.com',
      connectTimeout: Duration.seconds(3),
      forwardCallerArn: true,
      allowedTargets: ['100.64.0.7', '10.1.0.0/16:443', 'db', '*.example.ts.net:8000-8100', '[fd7a:115c:a1e0::7]:80', 'fd7a:115c:a1e0::7'],
      allowUncoveredTargets: true,
      options: { extension: { layerVersionName: 'tailscale-extension' }, lambda: { functionName: 'tailscale-proxy' } },
    });

    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::Lambda::LayerVersion', { LayerName: 'tailscale-extension' });
    template.hasResourceProperties('AWS::Lambda::Function', {
      FunctionName: 'tailscale-proxy',
      Environment: {
        Variables: {
          TS_ADVERTISE_TAGS: 'tag:lambda',
          TS_EXIT_NODE: '100.64.0.7',
          TS_EXIT_NODE_REQUIRED: 'true',
          TS_EXIT_NODE_PING_TIMEOUT: '500',
          TS_EXIT_NODE_PING_RETRIES: '4',
          TS_DEBUG: 'true',
          TS_CONTROL_URL: 'https://headscale.example.com',
          TS_CONNECT_TIMEOUT: '3000',
          TS_FORWARD_CALLER_ARN: 'true',
          TS_ALLOWED_TARGETS: '100.64.0.7,10.1.0.0/16:443,db,*.example.ts.net:8000-8100,[fd7a:115c:a1e0::7]:80,fd7a:115c:a1e0::7',
          TS_ALLOW_UNCOVERED_TARGETS: 'true',
        },
      },
    });
  });

  test.each<[Partial<TailscaleLambdaProxyProps>, unknown]>([
    [{}, undefined],
    [{ skipTlsVerification: true }, 'true'],
    [{ options: { lambda: { nodeTlsRejectUnauthorized: false } } }, 'true'],
    [{ options: { lambda: { nodeTlsRejectUnauthorized: true } } }, undefined],
    [{ skipTlsVerification: false, options: { lambda: { nodeTlsRejectUnauthorized: false } } }, undefined],
  ])('verifies certificates unless it is told not to: %j', (props, variable) => {
    expect(variablesOf(makeProxy(props).lambda).TS_SKIP_TLS_VERIFICATION).toBe(variable);
  });

  test('may read the secret with its client certificate, and is told where that and the authorities are', () => {
    const key = kms.Key.fromKeyArn(stack, 'mtls-key', 'arn:aws:kms:eu-west-1:111122223333:key/mtls');
    const proxy = makeProxy({
      clientCertificateSecret: new secretsmanager.Secret(stack, 'mtls', { encryptionKey: key }),
      caCertificatesFile: '/opt/authorities.pem',
    });

    expect(variablesOf(proxy.lambda)).toMatchObject({
      TS_CLIENT_CERTIFICATE_SECRET: { Ref: expect.stringMatching('^mtls') }, TS_CA_CERTIFICATES_FILE: '/opt/authorities.pem',
    });
    expect(statements(stack)).toEqual(expect.arrayContaining([
      expect.objectContaining({ Action: expect.arrayContaining(['secretsmanager:GetSecretValue']), Resource: { Ref: expect.stringMatching('^mtls') } }),
      expect.objectContaining({ Action: 'kms:Decrypt', Resource: key.keyArn }),
    ]));
  });

  test('has the layer\'s architecture', () => {
    makeProxy({ options: { lambda: { architecture: lambda.Architecture.ARM_64 } } });

    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::Lambda::Function', { Architectures: ['arm64'] });
    template.hasResourceProperties('AWS::Lambda::LayerVersion', { CompatibleArchitectures: ['arm64'] });
  });
});

describe('the Function URL', () => {
  test('wants IAM authentication, buffers answers, and is open to nobody by itself', () => {
    const proxy = makeProxy();

    Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Url', {
      AuthType: 'AWS_IAM',
      InvokeMode: 'BUFFERED',
      TargetFunctionArn: stack.resolve(proxy.lambda.functionArn),
    });
    Template.fromStack(stack).resourceCountIs('AWS::Lambda::Permission', 0);
  });

  test('streams where asked to, and the function is told', () => {
    const proxy = makeProxy({ invokeMode: lambda.InvokeMode.RESPONSE_STREAM });

    Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Url', { InvokeMode: 'RESPONSE_STREAM' });
    expect(variablesOf(proxy.lambda)).toMatchObject({ TS_INVOKE_MODE: 'RESPONSE_STREAM' });
  });

  test('takes what browsers may ask from other origins', () => {
    makeProxy({ cors: { allowedOrigins: ['https://example.com'], allowedHeaders: ['ts-target-ip', 'ts-target-port'], maxAge: Duration.hours(1) } });

    Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Url', {
      Cors: { AllowOrigins: ['https://example.com'], AllowHeaders: ['ts-target-ip', 'ts-target-port'], AllowMethods: ['*'], MaxAge: 3600 },
    });
  });

  test.each<[string, (proxy: TailscaleLambdaProxy, caller: lambda.Function) => void]>([
    ['the construct', (proxy, caller) => proxy.grantInvokeUrl(caller)],
    ['its URL', (proxy, caller) => proxy.lambdaFunctionUrl.grantInvokeUrl(caller)],
  ])('grantInvokeUrl on %s gives a caller both permissions that the service asks for, and not the secret', (_, grant) => {
    const proxy = makeProxy();

    grant(proxy, makeFunction(stack, 'Caller'));

    expect(statements(stack, 'Caller')).toEqual(urlStatements(stack.resolve(proxy.lambda.functionArn)));
  });
});

describe('permissions', () => {
  test('are to read that one secret, and to put metrics in one namespace: nothing else', () => {
    makeProxy();

    expect(statements(stack)).toEqual([
      {
        Effect: 'Allow',
        Action: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
        Resource: { 'Fn::Join': ['', expect.arrayContaining([':secret:tailscale-api-key-??????'])] },
      },
      { Effect: 'Allow', Action: 'cloudwatch:PutMetricData', Resource: '*', Condition: { StringEquals: { 'cloudwatch:namespace': 'tailscale-service' } } },
    ]);
  });

  test('come with logging alone as a managed policy', () => {
    makeProxy();

    const managed = { 'Fn::Join': ['', Match.arrayWith([':iam::aws:policy/service-role/AWSLambdaBasicExecutionRole'])] };
    Template.fromStack(stack).hasResourceProperties('AWS::IAM::Role', { ManagedPolicyArns: [managed] });
  });
});

describe('in a VPC', () => {
  test('the proxy can be named where security groups are opened', () => {
    const vpc = ec2.Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-1', availabilityZones: ['eu-west-1a'], privateSubnetIds: ['subnet-1'] });
    const database = new ec2.SecurityGroup(stack, 'Database', { vpc });
    const proxy = makeProxy({ options: { lambda: { vpc } } });

    database.connections.allowFrom(proxy, ec2.Port.tcp(5432));

    Template.fromStack(stack).hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
      FromPort: 5432,
      SourceSecurityGroupId: stack.resolve(proxy.connections.securityGroups[0].securityGroupId),
    });
  });

  test('alone: without one there are no security groups', () => {
    expect(() => makeProxy().connections).toThrow('Network/tailscale-proxy: connections is not available: the function is not in a VPC: set options.lambda.vpc');
  });
});

describe('metrics', () => {
  test.each<[string, (proxy: TailscaleLambdaProxy) => cloudwatch.Metric, string]>([
    ['Invocations', (proxy) => proxy.metricInvocations(), 'Sum'],
    ['Errors', (proxy) => proxy.metricErrors(), 'Sum'],
    ['Throttles', (proxy) => proxy.metricThrottles(), 'Sum'],
    ['Duration', (proxy) => proxy.metricDuration(), 'Average'],
    ['ConcurrentExecutions', (proxy) => proxy.metric('ConcurrentExecutions', { statistic: 'Maximum' }), 'Maximum'],
  ])('%s is that of the function', (metricName, metric, statistic) => {
    const proxy = makeProxy();

    expect(metric(proxy)).toMatchObject({
      namespace: 'AWS/Lambda', metricName, statistic, dimensions: { FunctionName: proxy.lambda.functionName },
    });
  });
});

test('tags and a permissions boundary of the app reach everything that the proxy makes', () => {
  const proxy = makeProxy({ options: { warmer: {} } });
  Tags.of(proxy).add('team', 'network');
  iam.PermissionsBoundary.of(proxy).apply(iam.ManagedPolicy.fromAwsManagedPolicyName('PowerUserAccess'));

  const template = Template.fromStack(stack);
  for (const type of ['AWS::Lambda::Function', 'AWS::IAM::Role', 'AWS::Logs::LogGroup']) {
    template.resourceCountIs(type, 2);
    template.allResourcesProperties(type, { Tags: [{ Key: 'team', Value: 'network' }] });
  }
  template.allResourcesProperties('AWS::IAM::Role', { PermissionsBoundary: { 'Fn::Join': ['', Match.arrayWith([':iam::aws:policy/PowerUserAccess'])] } });
});

describe('applyRemovalPolicy', () => {
  /** The deletion policies of the proxy's resources, by their types. */
  function policies(): Record<string, unknown> {
    const resources = Object.entries(Template.fromStack(stack).toJSON().Resources as Record<string, { Type: string; DeletionPolicy?: string }>);
    return Object.fromEntries(resources.filter(([id]) => !id.startsWith('Other')).map(([, { Type, DeletionPolicy }]) => [Type, DeletionPolicy]));
  }

  test('is for each resource of the proxy, and for no other', () => {
    const other = new lambda.LayerVersion(stack, 'Other', { code: lambda.Code.fromAsset(FIXTURE_ASSETS) });
    const proxy = makeProxy({ options: { lambda: { provisionedConcurrentExecutions: 1, functionName: 'proxy' }, warmer: {} } });

    proxy.applyRemovalPolicy(RemovalPolicy.RETAIN);

    expect(Object.keys(policies())).toEqual(expect.arrayContaining([
      'AWS::Lambda::Version', 'AWS::Lambda::Alias', 'AWS::Lambda::Url', 'AWS::Lambda::LayerVersion', 'AWS::Logs::LogGroup', 'AWS::Events::Rule',
    ]));
    expect(new Set(Object.values(policies()))).toEqual(new Set(['Retain']));
    expect((other.node.defaultChild as CfnResource).cfnOptions.deletionPolicy).toBeUndefined();
    expect(warnings(stack)).toContainEqual(expect.stringMatching(/a retained function keeps its name \(proxy\): .*retainedFunctionName/));
  });

  test('lets the layer be where it is to go, because others may share it', () => {
    const retained = makeProxy({}, 'one');
    const other = makeProxy({}, 'two');

    retained.applyRemovalPolicy(RemovalPolicy.RETAIN);
    other.applyRemovalPolicy(RemovalPolicy.DESTROY);

    expect(policies()['AWS::Lambda::LayerVersion']).toBe('Retain');
    expect(warnings(stack)).toEqual([]);
  });
});

describe('logical ids', () => {
  // Read from a template that tailscale-lambda-proxy 0.0.15 makes from the same ids.
  test('of the function and its URL are those that deployed stacks have', () => {
    const proxy = makeProxy();

    expect(stack.getLogicalId(proxy.lambda.node.defaultChild as lambda.CfnFunction))
      .toBe('tailscaleproxytailscaleproxylambda0D8C348A');
    expect(stack.getLogicalId(proxy.lambdaFunctionUrl.node.defaultChild as lambda.CfnUrl))
      .toBe('tailscaleproxytailscaleproxylambdaFunctionUrlC1E92D95');
  });
});
