import { Component, Project, Task } from 'projen';
import { PythonEnvironment } from './python';
import { Tailscaled } from './tailscaled';

/** What the zips are made with. */
export interface LayersOptions {
  /** Holds the linker, and what compresses. */
  readonly python: PythonEnvironment;
  /** Builds `tailscaled`. */
  readonly tailscaled: Tailscaled;
}

/** The zips that ship: assets/<architecture>/{proxy,extension,caller}.zip. */
export class Layers extends Component {
  /** Builds this machine's binaries, and zips them. */
  public readonly build: Task;
  /** Builds those of all architectures, and collects the licences of what is in them. */
  public readonly buildAll: Task;

  constructor(project: Project, options: LayersOptions) {
    super(project);
    this.build = project.addTask('layers:build', { description: 'Build the zips for this machine\'s architecture' });
    this.build.spawn(options.python.make);
    this.build.spawn(options.tailscaled.build);
    this.build.exec('node scripts/build-layers.js');

    this.buildAll = project.addTask('layers:build:all', { description: 'Build the zips for all architectures, as they are packed' });
    this.buildAll.spawn(options.python.make);
    this.buildAll.spawn(options.tailscaled.build, { args: ['all'] });
    this.buildAll.exec('node scripts/build-layers.js all');
    this.buildAll.exec('node scripts/collect-licences.js');
  }
}
