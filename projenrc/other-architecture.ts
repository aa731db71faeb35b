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
  /** Builds all that it takes, and runs the test. */
  public readonly test: Task;

  constructor(project: Project, options: OtherArchitectureOptions) {
    super(project);
    project.gitignore.exclude('/.emulator/');
    const fetch = project.addTask('emulator:fetch', {
      description: 'Put qemu and a glibc for the other architecture into .emulator',
      exec: 'node scripts/fetch-emulator.js',
    });
    this.test = project.addTask('other-architecture', {
      description: 'Have the other architecture\'s zips answer requests on a real tailnet, under qemu',
    });
    this.test.spawn(options.layers.buildAll);
    this.test.spawn(fetch);
    this.test.spawn(options.rust.buildDevelopment);
    this.test.spawn(options.rust.cargo('other-architecture:run', 'Run that test on what is built', [
      'test --locked -p testbed --test emulated',
    ]));
  }
}
