import { github } from 'projen';

/** The workflow steps that make a GitHub runner pass the preflight. Versions: as scripts/preflight.js asks for. */
export function toolchainSteps(): github.workflows.JobStep[] {
  return [
    // Ubuntu keeps users from it, and the tests make networks of their own in them.
    { name: 'Let users make namespaces', run: 'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0' },
    {
      name: 'Set up Rust',
      run: 'rustup toolchain install stable --profile minimal --component clippy,rustfmt && rustup default stable',
    },
    { name: 'Set up Go', uses: 'actions/setup-go@v6', with: { 'go-version-file': 'tailscaled/go.mod', 'cache-dependency-path': 'tailscaled/go.sum' } },
    { name: 'Set up Python', uses: 'actions/setup-python@v6', with: { 'python-version': '3.12' } },
  ];
}
