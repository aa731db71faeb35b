import { Component, Project, Task } from 'projen';

/** The Go module in tailscaled/: the unmodified daemon with a reduced feature list, and the tests' own servers. */
export class Tailscaled extends Component {
  /** Builds into tailscaled/dist/; takes `x86_64`, `arm64` or `all`, by default this machine's architecture. */
  public readonly build: Task;
  /** Builds Headscale, another control server, from a Go module of its own: it wants other versions of what both need. */
  public readonly buildHeadscale: Task;
  /** Runs go vet on the code that is ours. */
  public readonly vet: Task;

  constructor(project: Project) {
    super(project);
    project.gitignore.exclude('/tailscaled/dist/');
    this.build = project.addTask('tailscaled:build', {
      description: 'Build tailscaled, and the servers that tests need',
      exec: 'node scripts/build-tailscaled.js',
      receiveArgs: true,
    });
    this.buildHeadscale = project.addTask('headscale:build', {
      description: 'Build Headscale, for the tests that run it',
      exec: 'node scripts/build-headscale.js',
    });
    this.vet = project.addTask('go:vet', {
      description: 'Run go vet on the servers that tests run',
      cwd: 'tailscaled',
      // As the builds have it: what they compiled is not compiled anew. The bench's programs are vetted where they are built.
      env: { CGO_ENABLED: '0' },
      exec: 'go vet -trimpath ./control ./mysql ./redis',
    });
  }
}
