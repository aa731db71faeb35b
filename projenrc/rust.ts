import { Component, Project, Task } from 'projen';

/** The cargo workspace in rust/: what ships (release profile), and what only tests and the demo run (dev profile). */
export class RustWorkspace extends Component {
  /** Builds the binaries that go into the zips. */
  public readonly buildShipped: Task;
  /** Builds local-lambda and the demo. */
  public readonly buildDevelopment: Task;
  /** Builds both. */
  public readonly build: Task;
  /** Checks the format. */
  public readonly fmt: Task;
  /** Runs clippy, every warning an error. */
  public readonly lint: Task;
  /** Runs the tests that need no tailnet. */
  public readonly test: Task;

  constructor(project: Project) {
    super(project);
    project.gitignore.exclude('/rust/target/');
    this.buildShipped = this.cargo('rust:build:shipped', 'Build the binaries that ship', [
      'build --locked --release -p proxy -p extension',
    ]);
    this.buildDevelopment = this.cargo('rust:build:development', 'Build local-lambda and the demo', [
      'build --locked -p local-lambda -p testbed --bins',
    ]);
    this.build = project.addTask('rust:build', { description: 'Build every Rust binary' });
    this.build.spawn(this.buildShipped);
    this.build.spawn(this.buildDevelopment);
    this.fmt = this.cargo('rust:fmt', 'Check the format of the Rust sources', ['fmt --all --check']);
    this.lint = this.cargo('rust:lint', 'Run clippy', ['clippy --locked --workspace --all-targets -- -D warnings']);
    this.test = this.cargo('rust:test', 'Run the Rust tests that need no tailnet', [
      'test --locked --no-fail-fast --workspace --exclude testbed',
    ]);
  }

  /** A task of cargo commands. Its target folder is pinned, because other tasks look for the binaries in it. */
  public cargo(name: string, description: string, commands: string[]): Task {
    const task = this.project.addTask(name, { description, cwd: 'rust', env: { CARGO_TARGET_DIR: 'target' } });
    commands.forEach((command, index) =>
      task.exec(`cargo ${command}`, { receiveArgs: index === commands.length - 1 }));
    return task;
  }
}
