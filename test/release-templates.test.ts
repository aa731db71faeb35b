// What is released for those without the CDK makes what the construct makes.
import { spawnSync } from 'child_process';
import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { makeProxy } from './constructs';
import { testWithPython } from './prerequisite';

const ROOT = path.join(__dirname, '..');
const TEMPLATES = path.join(ROOT, 'templates');
const SECRET = 'arn:aws:secretsmanager:eu-west-1:111122223333:secret:tailscale-api-key-AbCdEf';
const HOSTNAME = 'lambda-proxy';

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'release-templates-'));
});

afterEach(() => fs.rmSync(folder, { recursive: true }));

/** What all three have in common, each in the words of CloudFormation. */
interface Proxy {
  readonly fn: Record<string, unknown>;
  readonly variables: Record<string, string>;
  readonly url: Record<string, unknown>;
  readonly layer: Record<string, unknown>;
  readonly retention: number;
  readonly statements: unknown[];
  readonly managedPolicy: string;
}

const FUNCTION = ['Architectures', 'Description', 'Handler', 'MemorySize', 'Runtime', 'Timeout'];

function pick(object: Record<string, any>, names: string[]): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [name, object[name]]));
}

/** The proxy in a CloudFormation template, whose references are replaced by what they stand for. */
function ofCloudFormation(template: any): Proxy {
  const known: Record<string, string> = { 'AuthKeySecretArn': SECRET, 'Hostname': HOSTNAME, 'AWS::Partition': 'aws' };
  const { Resources } = JSON.parse(JSON.stringify(template), (_, value) => {
    const joined = value?.['Fn::Join']?.[1];
    return joined?.every((part: unknown) => typeof part === 'string') ? joined.join('') : known[value?.Ref] ?? value;
  });
  const all = (type: string): any[] => Object.values<any>(Resources).filter(({ Type }) => Type === type).map(({ Properties }) => Properties);
  const one = (type: string) => {
    const found = all(type);
    expect({ type, count: found.length }).toEqual({ type, count: 1 });
    return found[0];
  };
  const role = one('AWS::IAM::Role');
  const policies = [...role.Policies ?? [], ...all('AWS::IAM::Policy')];
  const fn = one('AWS::Lambda::Function');
  return {
    fn: pick(fn, FUNCTION),
    variables: fn.Environment.Variables,
    url: pick(one('AWS::Lambda::Url'), ['AuthType', 'InvokeMode']),
    layer: pick(one('AWS::Lambda::LayerVersion'), ['CompatibleArchitectures', 'Description']),
    retention: one('AWS::Logs::LogGroup').RetentionInDays,
    statements: policies.flatMap(({ PolicyDocument }) => PolicyDocument.Statement),
    managedPolicy: role.ManagedPolicyArns.join(),
  };
}

/** The proxy in what Terraform plans. */
function ofTerraform(plan: any): Proxy {
  const one = (type: string) => {
    const found = plan.planned_values.root_module.resources.filter((resource: any) => resource.type === type);
    expect({ type, count: found.length }).toEqual({ type, count: 1 });
    return found[0].values;
  };
  const fn = one('aws_lambda_function');
  const url = one('aws_lambda_function_url');
  const layer = one('aws_lambda_layer_version');
  return {
    fn: {
      Architectures: fn.architectures,
      Description: fn.description,
      Handler: fn.handler,
      MemorySize: fn.memory_size,
      Runtime: fn.runtime,
      Timeout: fn.timeout,
    },
    variables: fn.environment[0].variables,
    url: { AuthType: url.authorization_type, InvokeMode: url.invoke_mode },
    layer: { CompatibleArchitectures: layer.compatible_architectures, Description: layer.description },
    retention: one('aws_cloudwatch_log_group').retention_in_days,
    statements: JSON.parse(one('aws_iam_role_policy').policy).Statement,
    managedPolicy: one('aws_iam_role_policy_attachment').policy_arn,
  };
}

/** The proxy that the construct makes of the same answers. */
function ofConstruct(): Proxy {
  const stack = new Stack(new App(), 'Stack');
  makeProxy(stack, { tsAuthKeySecret: secretsmanager.Secret.fromSecretCompleteArn(stack, 'Complete', SECRET), tsHostname: HOSTNAME });
  return ofCloudFormation(Template.fromStack(stack).toJSON());
}

function run(program: string, args: string[], environment: NodeJS.ProcessEnv = {}): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: folder, encoding: 'utf8', timeout: 60_000, env: { ...process.env, ...environment },
  });
  expect({ error, status, told: status === 0 ? '' : stdout + stderr }).toEqual({ error: undefined, status: 0, told: '' });
  return stdout;
}

testWithPython()('the SAM template makes the construct\'s proxy, and cfn-lint finds nothing in it', () => {
  const tools = path.join(ROOT, '.venv', 'bin');
  const translated = run(path.join(tools, 'python'), [path.join(__dirname, 'fixtures', 'translate_sam.py'), path.join(TEMPLATES, 'template.yaml')]);
  fs.writeFileSync(path.join(folder, 'translated.json'), translated);

  expect(ofCloudFormation(JSON.parse(translated))).toEqual(ofConstruct());
  expect(run(path.join(tools, 'cfn-lint'), ['--non-zero-exit-code', 'informational', '--', 'translated.json'])).toBe('');
}, 60_000);

/**
 * Whether Terraform and its provider are here. No account is asked, and no registry: the provider comes from a folder, which
 * TF_CLI_ARGS_init="-plugin-dir=FOLDER" names.
 */
function hasTerraform(): boolean {
  const why = !process.env.TF_CLI_ARGS_init?.includes('-plugin-dir=')
    ? 'TF_CLI_ARGS_init names no folder with the provider hashicorp/aws: set it to "-plugin-dir=FOLDER"'
    : spawnSync('terraform', ['version'], { encoding: 'utf8' }).status !== 0 && 'Terraform is missing: install 1.5 or later';
  if (why) {
    process.stderr.write(`test/release-templates.test.ts: the test of the Terraform module is skipped, because ${why}\n`);
  }
  return !why;
}

(hasTerraform() ? test : test.skip)('the Terraform module plans the construct\'s proxy', () => {
  fs.copyFileSync(path.join(TEMPLATES, 'main.tf'), path.join(folder, 'main.tf'));
  for (const zip of ['extension-x86_64.zip', 'proxy-x86_64.zip']) {
    fs.writeFileSync(path.join(folder, zip), zip);
  }
  fs.writeFileSync(path.join(folder, 'provider.tf.json'), JSON.stringify({
    provider: {
      aws: {
        region: 'eu-west-1',
        access_key: 'none',
        secret_key: 'none',
        skip_credentials_validation: true,
        skip_requesting_account_id: true,
        skip_metadata_api_check: true,
      },
    },
  }));
  const terraform = (...args: string[]) => run('terraform', args, {
    CHECKPOINT_DISABLE: '1', TF_IN_AUTOMATION: '1', TF_VAR_auth_key_secret_arn: SECRET, TF_VAR_hostname: HOSTNAME,
  });

  terraform('fmt', '-check', 'main.tf');
  terraform('init', '-input=false', '-no-color');
  terraform('validate', '-no-color');
  terraform('plan', '-input=false', '-no-color', '-out=plan');

  expect(ofTerraform(JSON.parse(terraform('show', '-json', 'plan')))).toEqual(ofConstruct());
}, 120_000);
