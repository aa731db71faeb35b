import { Component, Project, Task } from 'projen';
import { PythonEnvironment } from './python';

/** What the workspace is built with. */
export interface RustWorkspaceOptions {
  /** Holds the linker of what ships. */
  readonly python: PythonEnvironment;
}

/** The cargo workspace in rust/: what ships (release profile), and what only tests and the demo run (dev profile). */
export class RustWorkspace extends Component {
  /** Builds the binaries that go into the zips. */
  public readonly buildShipped: Task;
  /** Builds every binary for this machine, as the tests use them. */
  public readonly buildDevelopment: Task;
  /** Builds the demo and local-lambda: half as many crates. */
  public readonly buildDemo: Task;
  /** Builds both. */
  public readonly build: Task;
  /** Checks the format. */
  public readonly fmt: Task;
  /** Runs clippy, every warning an error. */
  public readonly lint: Task;
  /** Runs the tests that need no tailnet. */
  public readonly test: Task;

  constructor(project: Project, options: RustWorkspaceOptions) {
    super(project);
    project.gitignore.exclude('/rust/target/');
    this.buildShipped = project.addTask('rust:build:shipped', {
      description: 'Build the binaries that ship; takes `x86_64`, `arm64` or `all`, by default this machine\'s architecture',
      exec: 'node scripts/build-rust.js',
      receiveArgs: true,
    });
    this.buildDevelopment = this.cargo('rust:build:development', 'Build every binary for this machine, as the tests use them', [
      'build --locked --workspace --bins',
    ]);
    this.buildDemo = this.cargo('rust:build:demo', 'Build the demo and local-lambda', [
      'build --locked -p local-lambda -p testbed --bins',
    ]);
    this.build = project.addTask('rust:build', { description: 'Build every Rust binary' });
    this.build.spawn(options.python.make);
    this.build.spawn(this.buildShipped);
    this.build.spawn(this.buildDevelopment);
    this.fmt = this.cargo('rust:fmt', 'Check the format of the Rust sources', ['fmt --all --check']);
    this.lint = this.cargo('rust:lint', 'Run clippy', ['clippy --locked --workspace --all-targets --all-features -- -D warnings']);
    this.test = project.addTask('rust:test', {
      description: 'Run the Rust tests that need no tailnet',
      exec: 'node scripts/rust-tests.js crates',
    });
  }

  /** A task of cargo commands. Its target folder is pinned, because other tasks look for the binaries in it. */
  public cargo(name: string, description: string, commands: string[]): Task {
    const task = this.project.addTask(name, { description, cwd: 'rust', env: { CARGO_TARGET_DIR: 'target' } });
    commands.forEach((command, index) =>
      task.exec(`cargo ${command}`, { receiveArgs: index === commands.length - 1 }));
    return task;
  }
}
