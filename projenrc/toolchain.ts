import { github, Project, TomlFile } from 'projen';

/** The Rust that builds what ships: the zips are the same, byte for byte, only with the same compiler. */
export const RUST = '1.95.0';

/**
 * Actions by commit, since a tag can be moved to other code.
 * The comment is the version that the commit has.
 */
export const ACTIONS = {
  'actions/attest-build-provenance': '977bb373ede98d70efbf0b7b13af9c3d6651dc60', // v4.1.0
  'actions/setup-go': '4a3601121dd01d1626a1e23e37211e3254c1c06c', // v6.4.0
  'actions/setup-node': '820762786026740c76f36085b0efc47a31fe5020', // v7.0.0
  'actions/setup-python': '5fda3b95a4ea91299a34e894583c3862153e4b97', // v7.0.0
};

/** An action by its commit. */
export function pinned(action: keyof typeof ACTIONS): string {
  return `${action}@${ACTIONS[action]}`;
}

/** Pins the actions that projen names by a tag. */
export function pinActions(project: github.GitHubProject): void {
  (Object.keys(ACTIONS) as (keyof typeof ACTIONS)[]).forEach((action) => project.github?.actions.set(action, pinned(action)));
}

/** rustup installs this version where it is missing; cargo without rustup ignores the file. */
export function pinRust(project: Project): void {
  new TomlFile(project, 'rust-toolchain.toml', {
    obj: { toolchain: { channel: RUST, profile: 'minimal', components: ['clippy', 'rustfmt'] } },
  });
}

/** The workflow steps that make a GitHub runner pass the preflight. Versions: as scripts/preflight.js asks for. */
export function toolchainSteps(): github.workflows.JobStep[] {
  return [
    // Ubuntu keeps users from it, and the tests make networks of their own in them.
    { name: 'Let users make namespaces', run: 'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0' },
    { name: 'Set up Rust', run: 'rustup toolchain install' },
    {
      name: 'Set up Go',
      uses: pinned('actions/setup-go'),
      with: { 'go-version-file': 'tailscaled/go.mod', 'cache-dependency-path': 'tailscaled/go.sum' },
    },
    { name: 'Set up Python', uses: pinned('actions/setup-python'), with: { 'python-version': '3.12' } },
  ];
}
