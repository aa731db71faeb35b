import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { problemsOf, shown } from '../../scripts/rehearsal/applications';
import { Rehearsal } from '../../scripts/rehearsal/workflow';

const README = fs.readFileSync(path.join(__dirname, '..', '..', 'README.md'), 'utf8');

describe('a workflow', () => {
  let folder: string;

  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'rehearsal-'));
    jest.spyOn(console, 'log').mockImplementation();
  });

  afterEach(() => jest.restoreAllMocks());

  const rehearse = (jobs: Record<string, any>) => new Rehearsal(jobs, {
    folder, repository: folder, tag: 'v1.0.0', commit: 'abc', environment: process.env, overrides: {}, leftOut: { machine: 'it is ready' },
  });

  test('runs its shell steps, hands on outputs and files, and leaves out what is said to be', async () => {
    const rehearsal = rehearse({
      build: {
        outputs: { id: '${{ steps.upload.outputs.artifact-id }}', tag: '${{ steps.tag.outputs.tag }}' },
        steps: [
          { id: 'machine', name: 'machine', run: 'exit 1' },
          { 'id': 'fails', 'name': 'fails', 'run': 'false', 'continue-on-error': true },
          { id: 'tag', name: 'tag', env: { NAME: 'file' }, run: 'mkdir dist\necho "tag=$GITHUB_REF_NAME" >> "$GITHUB_OUTPUT"\necho made > "dist/$NAME"' },
          { id: 'upload', uses: 'actions/upload-artifact@1', with: { name: 'built', path: 'dist' } },
        ],
      },
      publish: {
        needs: 'build',
        if: 'needs.build.outputs.tag != \'v2\' && needs.build.outputs.tag == \'v1.0.0\'',
        steps: [
          { uses: 'actions/download-artifact@1', with: { 'artifact-ids': '${{ needs.build.outputs.id }}', 'path': 'got' } },
          { name: 'publish', if: '${{ !inputs.dry_run }}', run: 'grep made got/file' },
        ],
      },
    });
    await rehearsal.job('build');
    await rehearsal.job('publish');

    expect(rehearsal.done.build.outputs).toEqual({ id: 'built', tag: 'v1.0.0' });
  });

  test.each<[string, Record<string, any>, string]>([
    ['a step that fails', { steps: [{ name: 'build', run: 'exit 3' }] }, 'the step "build" of the job one failed: exit code 3'],
    ['an unknown action', { steps: [{ uses: 'actions/cache@1' }] }, 'no rehearsal knows what actions/cache does'],
    ['a job that comes too early', { needs: ['two'], steps: [] }, 'the job one needs two, which did not run before it'],
    ['a function of GitHub\'s', { if: 'success()', steps: [] }, 'success is not defined'],
    ['a job that would not run', { if: 'github.sha == \'other\'', steps: [] }, 'the job one would not run'],
  ])('%s ends the rehearsal', async (_, job, message) => {
    await expect(rehearse({ one: job }).job('one')).rejects.toThrow(message);
  });
});

test('the README has what a rehearsal follows', () => {
  const { install, pip, synth, files } = shown(README);

  expect(install).toContain('npm install CHECKOUT/dist/js/*.tgz aws-cdk-lib constructs aws-cdk tsx');
  expect(pip).toMatch(/^python3 -m venv .* && pip install CHECKOUT\/dist\/python\/\*\.whl$/);
  expect(synth).toBe('npx cdk synth --app \'npx tsx app.ts\'');
  expect(Object.entries(files).map(([name, text]) => [name, text.split('\n')[0]])).toEqual([
    ['caller/index.py', 'import os'], ['app.ts', 'import * as cdk from \'aws-cdk-lib\';'], ['app.py', 'import aws_cdk as cdk'],
  ]);
});

test('warnings and deprecations of a synthesis are found, and a template without a proxy', () => {
  const out = 'AWS::Lambda::Url AWS::Lambda::LayerVersion TS_PROXY_URL';
  expect(problemsOf({ out, err: '' })).toEqual([]);
  expect(problemsOf({ out: '', err: '' })).toHaveLength(3);
  expect(problemsOf({ out, err: '[WARNING] aws-cdk-lib.x is deprecated.\n[Warning at /network] y' })).toHaveLength(2);
});
