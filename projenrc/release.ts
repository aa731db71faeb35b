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
/** A job of ours. */
const TO_MACOS = 'release_macos';

/** The program for callers outside Lambda, and what it is built for on a Mac: name of the file -> Rust's target. */
const PROGRAM = 'tailscale-lambda-caller';
const MACOS = { 'macos-arm64': 'aarch64-apple-darwin', 'macos-x86_64': 'x86_64-apple-darwin' };

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

/** What projen's publishing jobs lack. It adds them late, so that they are there only now. */
class PublishingJobs extends Component {
  constructor(project: awscdk.AwsCdkConstructLibrary, private readonly workflow: github.GithubWorkflow) {
    super(project);
  }

  public preSynthesize(): void {
    [publishToNpm, publishToPypi, publishToGitHub, publishForMacos].forEach((publish) => publish(this.workflow));
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

/** What can be built only on a Mac. It comes last: the packages and the zips do not wait for it, and it can be repeated. */
function publishForMacos(workflow: github.GithubWorkflow): void {
  const targets = Object.entries(MACOS);
  workflow.addJob(TO_MACOS, {
    name: 'Add the program for macOS',
    needs: [JOB, TO_GITHUB],
    if: `needs.${JOB}.outputs.tag_exists != 'true' && needs.${JOB}.outputs.latest_commit == github.sha`,
    environment: 'release',
    runsOn: ['macos-15'],
    permissions: {
      contents: github.workflows.JobPermission.WRITE,
      idToken: github.workflows.JobPermission.WRITE,
      attestations: github.workflows.JobPermission.WRITE,
    },
    steps: [
      github.WorkflowSteps.checkout(),
      { name: 'Set up Rust', run: `rustup toolchain install\nrustup target add ${targets.map(([, target]) => target).join(' ')}` },
      {
        name: 'Build',
        workingDirectory: 'rust',
        env: { CARGO_TARGET_DIR: 'target' },
        run: [
          `cargo build --locked --release -p ${PROGRAM} ${targets.map(([, target]) => `--target ${target}`).join(' ')}`,
          'mkdir ../programs',
          ...targets.map(([name, target]) => `cp target/${target}/release/${PROGRAM} ../programs/${PROGRAM}-${name}`),
        ].join('\n'),
      },
      {
        name: 'Attest which workflow built the program',
        if: '${{ !inputs.dry_run }}',
        uses: pinned('actions/attest-build-provenance'),
        with: { 'subject-path': 'programs/*' },
      },
      {
        name: 'Release',
        if: '${{ !inputs.dry_run }}',
        env: { GITHUB_TOKEN: '${{ secrets.GITHUB_TOKEN }}' },
        workingDirectory: 'programs',
        run: [
          'gh release download "$GITHUB_REF_NAME" -R "$GITHUB_REPOSITORY" -p SHA256SUMS -O sums',
          // Those of an earlier run are replaced.
          `grep -v -- '  ${PROGRAM}-macos-' sums > SHA256SUMS`,
          `shasum -a 256 ${PROGRAM}-* >> SHA256SUMS`,
          `gh release upload "$GITHUB_REF_NAME" -R "$GITHUB_REPOSITORY" --clobber ${PROGRAM}-* SHA256SUMS`,
        ].join('\n'),
      },
    ],
  });
}

/** The zips for those without CDK, what is in them, and who built them. */
function publishToGitHub(workflow: github.GithubWorkflow): void {
  const step = workflow.getStep(TO_GITHUB, JOB);
  workflow.insertStepBefore(TO_GITHUB, JOB, {
    id: 'attest',
    name: 'Attest which workflow built the zips and the program',
    if: '${{ !inputs.dry_run }}',
    uses: pinned('actions/attest-build-provenance'),
    with: { 'subject-path': `${RELEASE_FILES}/*.zip\n${RELEASE_FILES}/${PROGRAM}-*` },
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
