import { spawnSync } from 'child_process';
import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';

const FILE = path.join(__dirname, '..', '.github', 'workflows', 'release.yml');
const WORKFLOW = fs.readFileSync(FILE, 'utf8');

/** The script of the step that decides whether to publish. */
const DECISION = WORKFLOW.match(/id: check_tag_exists\n +run: \|-\n((?: {10}.*\n)+)/)?.[1] ?? '';

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'release-'));
  fs.mkdirSync(path.join(folder, 'dist'));
  fs.writeFileSync(path.join(folder, 'dist', 'releasetag.txt'), 'v1.2.3');
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

function decide(type: string, name: string) {
  const output = path.join(folder, 'output');
  fs.writeFileSync(output, '');
  const env = { ...process.env, GITHUB_REF_TYPE: type, GITHUB_REF_NAME: name, GITHUB_OUTPUT: output };
  const { status, stdout } = spawnSync('bash', ['-e', '-c', DECISION], { cwd: folder, env, encoding: 'utf8' });
  return { status, told: stdout.trim(), output: fs.readFileSync(output, 'utf8').trim() };
}

test('a push of a tag, and nothing else, starts a release', () => {
  expect(WORKFLOW).toMatch(/^on:\n {2}push:\n {4}tags:\n {6}- v\*\n {2}workflow_dispatch:/m);
});

test.each([
  ['publishes what carries the tag of its version', 'tag', 'v1.2.3', { status: 0, told: '', output: 'exists=false' }],
  ['publishes nothing from a branch', 'branch', 'main', { status: 0, told: '', output: 'exists=true' }],
  ['refuses a tag that is not the version\'s', 'tag', 'vNext',
    { status: 1, told: expect.stringContaining('the tag is vNext, and what was built is v1.2.3'), output: '' }],
])('%s', (_, type, name, expected) => {
  expect(decide(type, name)).toEqual(expected);
});

test('both registries trust the workflow: no token is kept', () => {
  expect(WORKFLOW).toContain('NPM_TRUSTED_PUBLISHER: "true"');
  expect(WORKFLOW).toContain('PYPI_TRUSTED_PUBLISHER: "true"');
  expect(WORKFLOW).not.toMatch(/secrets\.(?!GITHUB_TOKEN\b)/);
});

/** A job of the workflow, as text. */
function job(name: string): string {
  return WORKFLOW.match(new RegExp(`^ {2}${name}:\n((?: {4}.*\n?|\n)+)`, 'm'))?.[1] ?? '';
}

/** The script of a job's last step that has one. */
function lastScript(name: string): string {
  return [...job(name).matchAll(/ {8}run: \|-\n((?: {10}.*\n?)+)/g)].pop()?.[1] ?? '';
}

/** Runs a script with programs of its own, which write down how they were called. */
function runWith(programs: Record<string, string>, script: string, environment: NodeJS.ProcessEnv) {
  const bin = path.join(folder, 'bin');
  const calls = path.join(folder, 'calls');
  fs.mkdirSync(bin);
  fs.writeFileSync(calls, '');
  for (const [name, body] of Object.entries(programs)) {
    fs.writeFileSync(path.join(bin, name), `#!/bin/sh\necho "${name} $*" >> ${calls}\n${body}\n`, { mode: 0o755 });
  }
  const env = { ...process.env, ...environment, PATH: `${bin}:${process.env.PATH}` };
  const { status, stdout } = spawnSync('bash', ['-e', '-c', script], { cwd: folder, env, encoding: 'utf8' });
  return { status, stdout: stdout.trim(), calls: fs.readFileSync(calls, 'utf8').trim().split('\n') };
}

describe('the job that publishes to npm', () => {
  const publish = (tag: string, npm = '11.6.2') => runWith(
    { npm: `echo ${npm}`, npx: 'echo "tag=$NPM_DIST_TAG"' }, lastScript('release_npm'), { GITHUB_REF_NAME: tag });

  test.each([['v1.2.3', 'latest'], ['v1.2.3-rc.1', 'next']])('gives the version %s the tag "%s"', (version, tag) => {
    expect(publish(version)).toMatchObject({ status: 0, stdout: `tag=${tag}` });
  });

  test.each(['10.8.1', '11.5.0'])('stops before it publishes with npm %s, which cannot do so without a token', (npm) => {
    const { status, stdout, calls } = publish('v1.2.3', npm);
    expect(status).toBe(1);
    expect(stdout).toBe(`::error::trusted publishing needs npm 11.5.1, and this is ${npm}`);
    expect(calls.filter((call) => call.startsWith('npx'))).toEqual([]);
  });

  test.each(['11.5.1', '12.0.0', '11.10.0'])('publishes with npm %s', (npm) => {
    expect(publish('v1.2.3', npm).status).toBe(0);
  });

  test('runs on a Node that brings such an npm', () => {
    expect(job('release_npm')).toContain('node-version: "24"');
  });
});

test('PyPI, which cannot take a version back, comes after npm', () => {
  expect(job('release_pypi')).toMatch(/^ {4}needs:\n {6}- release\n {6}- release_npm\n/m);
});

test.each(['release_npm', 'release_pypi', 'release_github'])('%s runs in the environment that says who may publish', (name) => {
  expect(job(name)).toMatch(/^ {4}environment: release$/m);
});

describe('the job that makes a GitHub release', () => {
  const publish = (tag: string, there: boolean) => {
    fs.writeFileSync(path.join(folder, 'tag'), tag);
    fs.mkdirSync(path.join(folder, 'files'));
    fs.writeFileSync(path.join(folder, 'files', 'proxy-arm64.zip'), '');
    return runWith({ gh: `[ "$2" != view ] || exit ${there ? 0 : 1}` }, lastScript('release_github'), {
      RELEASE_TAG_FILE: 'tag', CHANGELOG_FILE: 'changelog.md', GITHUB_REPOSITORY: 'owner/name', RELEASE_FILES: 'files',
    });
  };

  test('adds the files', () => {
    expect(publish('v1.2.3', false)).toMatchObject({
      status: 0,
      calls: [
        'gh release view v1.2.3 -R owner/name',
        'gh release create v1.2.3 -R owner/name -F changelog.md -t v1.2.3 --verify-tag --latest',
        'gh release upload v1.2.3 -R owner/name --clobber files/proxy-arm64.zip',
      ],
    });
  });

  test('marks a pre-release as one', () => {
    expect(publish('v2.0.0-rc.1', false).calls[1]).toMatch(/ --prerelease$/);
  });

  test('can be repeated', () => {
    expect(publish('v1.2.3', true)).toMatchObject({ status: 0, calls: [expect.stringContaining('view'), expect.stringContaining('upload')] });
  });
});

describe('the job that adds the program for macOS', () => {
  const publish = (sums: string) => {
    fs.writeFileSync(path.join(folder, 'released'), sums);
    ['arm64', 'x86_64'].forEach((name) => fs.writeFileSync(path.join(folder, `tailscale-lambda-caller-macos-${name}`), name));
    const programs = { gh: '[ "$2" != download ] || cp released sums', shasum: 'shift 2; sha256sum "$@"' };
    const result = runWith(programs, lastScript('release_macos'), { GITHUB_REF_NAME: 'v1.2.3', GITHUB_REPOSITORY: 'owner/name' });
    return { ...result, sums: fs.readFileSync(path.join(folder, 'SHA256SUMS'), 'utf8') };
  };
  const ZIP = `${'0'.repeat(64)}  proxy-arm64.zip\n`;

  test('comes after the release is there, on a Mac, for both architectures', () => {
    expect(job('release_macos')).toMatch(/^ {4}needs:\n {6}- release\n {6}- release_github\n {4}runs-on: macos-/m);
    expect(job('release_macos')).toContain('--target aarch64-apple-darwin --target x86_64-apple-darwin');
    expect(job('release_macos')).toMatch(/^ {4}environment: release$/m);
  });

  test('adds the files, and their checksums to those of the others', () => {
    const { status, calls, sums } = publish(ZIP);
    expect(status).toBe(0);
    expect(calls.pop()).toBe('gh release upload v1.2.3 -R owner/name --clobber tailscale-lambda-caller-macos-arm64 tailscale-lambda-caller-macos-x86_64 SHA256SUMS');
    expect(sums).toMatch(new RegExp(`^${ZIP}[0-9a-f]{64}  tailscale-lambda-caller-macos-arm64\n[0-9a-f]{64}  tailscale-lambda-caller-macos-x86_64\n$`));
  });

  test('can be repeated', () => {
    const first = publish(ZIP).sums;
    fs.rmSync(path.join(folder, 'bin'), { recursive: true });
    expect(publish(first).sums).toBe(first);
  });
});

test('the zips and the program are attested', () => {
  expect(job('release_github')).toContain('dist/release-files/*.zip\n            dist/release-files/tailscale-lambda-caller-*');
});

test.each(fs.readdirSync(path.dirname(FILE)))('%s runs no action by a tag, which can be moved', (name) => {
  const used = [...fs.readFileSync(path.join(path.dirname(FILE), name), 'utf8').matchAll(/uses: (\S+)/g)].map(([, action]) => action);
  expect(used.length).toBeGreaterThan(0);
  expect(used.filter((action) => !/@[0-9a-f]{40}$/.test(action))).toEqual([]);
});
