import { spawnSync } from 'child_process';
import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';

const WORKFLOW = fs.readFileSync(path.join(__dirname, '..', '.github', 'workflows', 'release.yml'), 'utf8');

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
  const environment = { ...process.env, GITHUB_REF_TYPE: type, GITHUB_REF_NAME: name, GITHUB_OUTPUT: output };
  const { status, stdout } = spawnSync('bash', ['-e', '-c', DECISION], { cwd: folder, env: environment, encoding: 'utf8' });
  return { status, told: stdout.trim(), output: fs.readFileSync(output, 'utf8').trim() };
}

test('a push of a tag, and nothing else, starts a release', () => {
  expect(WORKFLOW).toMatch(/^on:\n {2}push:\n {4}tags:\n {6}- v\*\n {2}workflow_dispatch:/m);
});

test('publishes what carries the tag of its version', () => {
  expect(decide('tag', 'v1.2.3')).toEqual({ status: 0, told: '', output: 'exists=false' });
});

test('publishes nothing from a branch', () => {
  expect(decide('branch', 'main')).toEqual({ status: 0, told: '', output: 'exists=true' });
});

test('refuses a tag that is not the version\'s', () => {
  expect(decide('tag', 'vNext')).toMatchObject({ status: 1, told: expect.stringContaining('the tag is vNext, and what was built is v1.2.3') });
});

test('both registries trust the workflow: no token is kept', () => {
  expect(WORKFLOW).toContain('NPM_TRUSTED_PUBLISHER: "true"');
  expect(WORKFLOW).toContain('PYPI_TRUSTED_PUBLISHER: "true"');
  expect(WORKFLOW).not.toMatch(/secrets\.(?!GITHUB_TOKEN\b)/);
});
