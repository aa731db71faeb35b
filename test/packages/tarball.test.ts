import { execFileSync } from 'child_process';
import * as fs from 'fs';
import * as path from 'path';
import { ROOT } from './folders';
import { packed } from './install';

/** In bytes. projenrc/tasks.ts has it too, for what is packed without these tests. */
const BUDGET = 30_000_000;

const TARBALL = packed('js', '.tgz');
const names = execFileSync('tar', ['-tzf', TARBALL], { encoding: 'utf8' }).trim().split('\n').map((name) => name.replace(/^package\//, ''));

function content(name: string): Buffer {
  return execFileSync('tar', ['-xzOf', TARBALL, `package/${name}`], { maxBuffer: 1e8 });
}

test('the tarball holds what a CDK app needs, and nothing else', () => {
  const allowed = /^(lib\/[\w-]+\.(js|d\.ts)|assets\/(x86_64|arm64)\/\w+\.zip|(assets|bin)\/THIRD-PARTY-LICENSES\.txt|bin\/tailscale-lambda-proxy\.js|\.jsii|package\.json|API\.md|README\.md|LICENSE)$/;

  expect(names.filter((name) => !allowed.test(name))).toEqual([]);
  expect(names).toEqual(expect.arrayContaining(['lib/index.js', 'lib/index.d.ts', '.jsii', 'README.md', 'LICENSE']));
});

test.each(['x86_64', 'arm64'])('the tarball holds the zips of %s as they were built', (architecture) => {
  const built = fs.readdirSync(path.join(ROOT, 'assets', architecture));

  expect(built).toEqual(expect.arrayContaining(['caller.zip', 'extension.zip', 'proxy.zip']));
  for (const zip of built) {
    const file = path.join('assets', architecture, zip);
    expect(content(file).equals(fs.readFileSync(path.join(ROOT, file)))).toBe(true);
  }
});

test('the licences of what is inside the zips come along', () => {
  const licences = content('assets/THIRD-PARTY-LICENSES.txt').toString();

  for (const component of [/^tailscale\.com v1\.\d+\.\d+ \(Go module\)$/m, /^tokio \d\S* \(crate\)$/m, /^the standard library of Go$/m]) {
    expect(licences).toMatch(component);
  }
});

test.each([['js', '.tgz'], ['python', '.whl']])('the package for %s is within its budget', (folder, ending) => {
  expect(fs.statSync(packed(folder, ending)).size).toBeLessThanOrEqual(BUDGET);
});
