import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { applications, python, pythonApp, ROOT, typescriptApp } from './folders';
import { run } from './run';

/** The CDK's command line: its versions are its own. */
const CDK_CLI = '2.1148.1';

/** Apps of the tests' own. They lie beside what is installed: that is where either language looks for the package. */
const KEYLESS = path.join(__dirname, 'keyless');

/** Installs what was packed into applications that have nothing else of this project, as its users do. */
export default async function install(): Promise<void> {
  process.env.TEST_APPLICATIONS = fs.mkdtempSync(path.join(os.tmpdir(), 'tailscale-lambda-proxy-packages-'));
  await Promise.all([installTypeScript(), installPython()]);
}

/** The one file of a kind that was packed. */
export function packed(folder: string, ending: string): string {
  const dist = path.join(ROOT, 'dist', folder);
  const files = fs.existsSync(dist) ? fs.readdirSync(dist).filter((name) => name.endsWith(ending)) : [];
  if (files.length !== 1) {
    throw new Error(`${dist} holds ${files.length} files *${ending}, and must hold one: run "npx projen package-all"`);
  }
  return path.join(dist, files[0]);
}

/** What the package is built and tested against: the lowest versions that it supports. */
function floor(name: string): string {
  return JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8')).devDependencies[name];
}

async function installTypeScript(): Promise<void> {
  const app = typescriptApp();
  fs.cpSync(path.join(ROOT, 'examples', 'typescript'), app, { recursive: true, filter: (file) => !file.includes('node_modules') });
  fs.copyFileSync(path.join(KEYLESS, 'keyless.ts'), path.join(app, 'keyless.ts'));
  const manifest = path.join(app, 'package.json');
  const description = JSON.parse(fs.readFileSync(manifest, 'utf8'));
  Object.assign(description.dependencies, {
    'tailscale-lambda-proxy': `file:${packed('js', '.tgz')}`,
    'aws-cdk-lib': floor('aws-cdk-lib'),
    'constructs': floor('constructs'),
  });
  description.devDependencies['aws-cdk'] = CDK_CLI;
  fs.writeFileSync(manifest, JSON.stringify(description, undefined, 2));
  await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'], app);
}

async function installPython(): Promise<void> {
  fs.cpSync(path.join(ROOT, 'examples', 'python'), pythonApp(), { recursive: true });
  fs.copyFileSync(path.join(KEYLESS, 'keyless.py'), path.join(pythonApp(), 'keyless.py'));
  await run('python3', ['-m', 'venv', path.join(applications(), 'venv')], applications());
  const cdk = ['aws-cdk-lib', 'constructs'].map((name) => `${name}==${floor(name)}`);
  await run(python(), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', packed('python', '.whl'), ...cdk], applications());
}
