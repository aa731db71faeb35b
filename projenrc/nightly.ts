import { awscdk, github, Task, YamlFile } from 'projen';
import { pinned, toolchainSteps } from './toolchain';

const CARGO_DENY = '0.20.2';
const GOVULNCHECK = 'v1.9.0';

const TAGS = 'node -p \'require("../scripts/build-tailscaled").omitTags(require("fs").readFileSync("features.txt", "utf8")).join()\'';

/**
 * Asks GitHub for pull requests with newer versions, in lock files only: ranges are in .projenrc.ts and in manifests that a
 * person edits. Actions are not among these: their pins are in projenrc/toolchain.ts.
 */
export function updateDependencies(project: awscdk.AwsCdkConstructLibrary): void {
  const weekly = { 'schedule': { interval: 'weekly' }, 'groups': { all: { patterns: ['*'] } }, 'open-pull-requests-limit': 5 };
  new YamlFile(project, '.github/dependabot.yml', {
    committed: true,
    obj: {
      version: 2,
      updates: [
        { 'package-ecosystem': 'npm', 'directory': '/', 'versioning-strategy': 'lockfile-only', ...weekly },
        { 'package-ecosystem': 'cargo', 'directory': '/rust', 'versioning-strategy': 'lockfile-only', ...weekly },
        { 'package-ecosystem': 'gomod', 'directory': '/tailscaled', ...weekly },
      ],
    },
  });
}

/**
 * Looks every night for what changes without a commit: advisories, the newest CDK, and what only shows in the long run.
 * `newestCdk` runs the constructs' tests with the newest CDK, `e2e` the end-to-end tests, here on an arm64 machine (pull requests
 * run them on x86_64, and arm64's zips under qemu), and `long` are runs on real tailnets, which no pull request waits for.
 */
export function addNightly(project: awscdk.AwsCdkConstructLibrary, newestCdk: Task, e2e: Task, long: Task[]): void {
  const parts = [
    project.addTask('audit:npm', {
      description: 'Look for known vulnerabilities in the npm packages that users get',
      exec: 'npm audit --omit=dev',
    }),
    project.addTask('audit:crates', {
      description: `Look for known vulnerabilities in crates, and check their licenses (cargo install --locked cargo-deny@${CARGO_DENY})`,
      exec: 'cargo deny check',
      cwd: 'rust',
    }),
    // With the features that tailscaled is built with: code that is left out cannot be reached.
    project.addTask('audit:go', {
      description: 'Look for known vulnerabilities that tailscaled can reach',
      exec: `go run golang.org/x/vuln/cmd/govulncheck@${GOVULNCHECK} -tags "$(${TAGS})" tailscale.com/cmd/tailscaled`,
      cwd: 'tailscaled',
    }),
  ];
  const audit = project.addTask('audit', { description: 'Look for known vulnerabilities in what ships' });
  parts.forEach((part) => audit.spawn(part));

  const workflow = project.github?.addWorkflow('nightly');
  workflow?.on({ schedule: [{ cron: '17 3 * * *' }], workflowDispatch: {} });
  workflow?.addJob('audit', job('24', [
    { name: 'Install cargo-deny', run: `cargo install --locked cargo-deny@${CARGO_DENY}` },
    // Each of them, whatever another one finds.
    ...parts.map((part) => ({ name: part.name, if: '${{ !cancelled() }}', run: project.runTaskCommand(part) })),
  ]));
  workflow?.addJob('newest-cdk', job('24', [{ name: newestCdk.name, run: project.runTaskCommand(newestCdk) }]));
  workflow?.addJob('lowest-node', job(project.minNodeVersion ?? '20', [{ name: 'jest', run: 'npx jest --ci' }]));
  workflow?.addJob('arm64', job('24', [{ name: e2e.name, run: project.runTaskCommand(e2e) }], 'ubuntu-24.04-arm'));
  for (const task of long) {
    workflow?.addJob(task.name, job('24', [{ name: task.name, run: project.runTaskCommand(task) }]));
  }
}

function job(node: string, then: github.workflows.JobStep[], runner = 'ubuntu-latest'): github.workflows.Job {
  return {
    runsOn: [runner],
    permissions: { contents: github.workflows.JobPermission.READ },
    timeoutMinutes: 240,
    steps: [
      github.WorkflowSteps.checkout(),
      { name: 'Setup Node.js', uses: pinned('actions/setup-node'), with: { 'node-version': node, 'package-manager-cache': false } },
      ...toolchainSteps(),
      { name: 'Install dependencies', run: 'npm ci' },
      ...then,
    ],
  };
}
