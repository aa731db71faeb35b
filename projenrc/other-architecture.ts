import { Component, Project, Task } from 'projen';
import { Layers } from './layers';
import { RustWorkspace } from './rust';

/** What the architecture that this machine does not have is tested with. */
export interface OtherArchitectureOptions {
  /** Builds the zips. */
  readonly layers: Layers;
  /** Builds the tests. */
  readonly rust: RustWorkspace;
}

/** The zips for the other architecture than this machine's, run on it under qemu. */
export class OtherArchitecture extends Component {
  /** Runs the test on the zips of both architectures. */
  public readonly test: Task;

  constructor(project: Project, options: OtherArchitectureOptions) {
    super(project);
    project.gitignore.exclude('/.emulator/');
    const fetch = project.addTask('emulator:fetch', {
      description: 'Put qemu for the other architecture into .emulator',
      exec: 'node scripts/fetch-emulator.js',
    });
    this.test = project.addTask('other-architecture:run', { description: 'Run that test on what is built' });
    this.test.spawn(fetch);
    this.test.exec('node scripts/rust-tests.js e2e emulated', { receiveArgs: true });
    const all = project.addTask('other-architecture', {
      description: 'Have the other architecture\'s zips answer requests on a real tailnet, under qemu',
    });
    all.spawn(options.layers.buildAll);
    all.spawn(options.rust.buildDevelopment);
    all.spawn(this.test);
  }
}
