import { Component, Project, Task } from 'projen';
import { RustWorkspace } from './rust';
import { Tailscaled } from './tailscaled';

/** What the zips are made of. */
export interface LayersOptions {
  /** Builds `bootstrap` and `tailscale-extension`. */
  readonly rust: RustWorkspace;
  /** Builds `tailscaled`. */
  readonly tailscaled: Tailscaled;
}

/** The zips that ship: assets/<architecture>/{proxy,extension}.zip. */
export class Layers extends Component {
  /** Builds the binaries and zips them. */
  public readonly build: Task;

  constructor(project: Project, options: LayersOptions) {
    super(project);
    this.build = project.addTask('layers:build', { description: 'Build the zips of the function and the layer' });
    this.build.spawn(options.tailscaled.build);
    this.build.spawn(options.rust.buildShipped);
    this.build.exec('node scripts/build-layers.js');
  }
}
