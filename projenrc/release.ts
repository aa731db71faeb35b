import { awscdk, Component, github } from 'projen';
import { pinned } from './toolchain';

/** The job that builds a release, as projen names it, and two of its steps. */
const JOB = 'release';
const TAG_STEP = 'check_tag_exists';
const COMMIT_STEP = 'git_remote';

/** The jobs that publish, as projen names them. */
const TO_NPM = 'release_npm';
const TO_PYPI = 'release_pypi';
const TO_GITHUB = 'release_github';

/** What a GitHub release carries beside the sources: made by the task, kept with the build. */
export const RELEASE_FILES = 'dist/release-files';

/**
 * Makes the release workflow publish what a tag points to, under the tag's version, and on nothing but a tag.
 *
 * projen writes it for releases that start with a push to the branch: it publishes only if the version has no tag yet,
 * and if the branch still is where it was. With a tag, the one is never so, and the other cannot be asked.
 */
export function releaseOnTag(project: awscdk.AwsCdkConstructLibrary): void {
  const workflow = project.github?.tryFindWorkflow('release');
  if (!workflow) {
    throw new Error('projen makes no workflow "release" any more: find what releases, and let a tag start it');
  }
  workflow.file?.addDeletionOverride('on.push.branches');
  workflow.patchStep(JOB, TAG_STEP, {
    name: 'Check that the version is the tag\'s',
    run: [
      'TAG=$(cat dist/releasetag.txt)',
      'if [ "$GITHUB_REF_TYPE" != tag ]; then',
      '  echo "exists=true" >> "$GITHUB_OUTPUT"',
      'elif [ "$TAG" = "$GITHUB_REF_NAME" ]; then',
      '  echo "exists=false" >> "$GITHUB_OUTPUT"',
      'else',
      '  echo "::error::the tag is $GITHUB_REF_NAME, and what was built is $TAG: tags are v and the version, such as v1.2.3"',
      '  exit 1',
      'fi',
    ].join('\n'),
  });
  workflow.insertStepBefore(JOB, TAG_STEP, {
    id: 'release_files',
    name: 'Put the zips, their SBOM and checksums beside the packages',
    run: 'npx projen release:files',
  });
  workflow.patchStep(JOB, COMMIT_STEP, {
    name: 'Say which commit was built',
    env: undefined,
    run: 'echo "latest_commit=$(git rev-parse HEAD)" >> "$GITHUB_OUTPUT"',
  });
  new PublishingJobs(project, workflow);
}

/** The macOS machines that build the callers' program, and what the files are called by. */
const MACS = [{ runner: 'macos-15', architecture: 'arm64' }, { runner: 'macos-15-intel', architecture: 'x86_64' }];

/** Adds the callers' program for macOS, which can be linked only there, to the GitHub release. */
function programsForMacos(project: awscdk.AwsCdkConstructLibrary, workflow: github.GithubWorkflow): void {
  const file = 'tailscale-lambda-caller-macos-${{ matrix.architecture }}';
  workflow.addJob('release_macos', {
    name: 'Add the program for macOS ${{ matrix.architecture }}',
    needs: [JOB, TO_GITHUB],
    if: `needs.${JOB}.outputs.tag_exists != 'true' && needs.${JOB}.outputs.latest_commit == github.sha`,
    environment: 'release',
    runsOn: ['${{ matrix.runner }}'],
    strategy: { matrix: { include: MACS } },
    permissions: { contents: github.workflows.JobPermission.WRITE },
    steps: [
      ...project.github!.projenCredentials.setupSteps,
      github.WorkflowSteps.checkout(),
      { name: 'Set up Rust', run: 'rustup toolchain install' },
      {
        name: 'Build',
        workingDirectory: 'rust',
        run: 'cargo build --locked --release -p tailscale-lambda-caller',
        env: { CARGO_TARGET_DIR: 'target' },
      },
      {
        name: 'Upload',
        if: '${{ !inputs.dry_run }}',
        env: { GITHUB_TOKEN: '${{ secrets.GITHUB_TOKEN }}', FILE: file },
        run: [
          'cp rust/target/release/tailscale-lambda-caller "$FILE"',
          'shasum -a 256 "$FILE" > "$FILE.sha256"',
          'gh release upload "$GITHUB_REF_NAME" -R "$GITHUB_REPOSITORY" --clobber "$FILE" "$FILE.sha256"',
        ].join('\n'),
      },
    ],
  });
}

/** What projen's publishing jobs lack. It adds them late, so that they are there only now. */
class PublishingJobs extends Component {
  constructor(project: awscdk.AwsCdkConstructLibrary, private readonly workflow: github.GithubWorkflow) {
    super(project);
  }

  public preSynthesize(): void {
    publishToNpm(this.workflow);
    publishToPypi(this.workflow);
    publishToGitHub(this.workflow);
    programsForMacos(this.project as awscdk.AwsCdkConstructLibrary, this.workflow);
  }
}

/** npm publishes by trust in the workflow from npm 11.5.1 on, and gives whatever it is not told otherwise the tag `latest`. */
function publishToNpm(workflow: github.GithubWorkflow): void {
  const { run, env } = workflow.getStep(TO_NPM, JOB);
  const { NPM_DIST_TAG: _tag, NPM_REGISTRY: _registry, ...others } = env ?? {};
  workflow.replaceStep(TO_NPM, JOB, {
    id: JOB,
    name: 'Release',
    // Nor does it name a registry: the publishing tool's default is npm's own.
    env: others,
    run: [
      'node -e \'const [a, b, c] = process.argv[1].split(".").map((part) => parseInt(part)); process.exit(a * 1e6 + b * 1e3 + c < 11005001 ? 1 : 0)\' \\',
      '  "$(npm --version)" || { echo "::error::trusted publishing needs npm 11.5.1, and this is $(npm --version)"; exit 1; }',
      'case "$GITHUB_REF_NAME" in *-*) NPM_DIST_TAG=next ;; *) NPM_DIST_TAG=latest ;; esac',
      'export NPM_DIST_TAG',
      `${run}`,
    ].join('\n'),
  });
}

/** PyPI cannot take back a version: it comes after npm, which is more likely to refuse. */
function publishToPypi(workflow: github.GithubWorkflow): void {
  workflow.file?.addOverride(`jobs.${TO_PYPI}.needs`, [JOB, TO_NPM]);
}

/** The zips for those without CDK, what is in them, and who built them. */
function publishToGitHub(workflow: github.GithubWorkflow): void {
  const step = workflow.getStep(TO_GITHUB, JOB);
  workflow.insertStepBefore(TO_GITHUB, JOB, {
    id: 'attest',
    name: 'Attest which workflow built the zips',
    if: '${{ !inputs.dry_run }}',
    uses: pinned('actions/attest-build-provenance'),
    with: { 'subject-path': `${RELEASE_FILES}/*.zip` },
  });
  workflow.replaceStep(TO_GITHUB, JOB, {
    ...step,
    env: { ...step.env, RELEASE_FILES },
    run: [
      'tag=$(cat "$RELEASE_TAG_FILE")',
      'case "$tag" in *-*) kind=--prerelease ;; *) kind=--latest ;; esac',
      'gh release view "$tag" -R "$GITHUB_REPOSITORY" 2>/dev/null ||',
      '  gh release create "$tag" -R "$GITHUB_REPOSITORY" -F "$CHANGELOG_FILE" -t "$tag" --verify-tag "$kind"',
      'gh release upload "$tag" -R "$GITHUB_REPOSITORY" --clobber "$RELEASE_FILES"/*',
    ].join('\n'),
  });
  workflow.file?.addOverride(`jobs.${TO_GITHUB}.permissions`, { 'contents': 'write', 'id-token': 'write', 'attestations': 'write' });
}
