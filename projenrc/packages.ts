import { awscdk, Component, Task } from 'projen';
import { Layers } from './layers';

/** What the packages are made of. */
export interface PackagesOptions {
  /** Builds the zips that they hold. */
  readonly layers: Layers;
}

/** The packages for npm and PyPI: checked before and after they are packed, and installed as users do by the tests. */
export class Packages extends Component {
  /** Packs what is built, and runs the tests on it. */
  public readonly test: Task;

  constructor(project: awscdk.AwsCdkConstructLibrary, options: PackagesOptions) {
    super(project);
    const packJs = project.tasks.tryFind('package:js');
    const packAll = project.tasks.tryFind('package-all');
    const packPython = project.tasks.tryFind('package:python');
    if (!packJs || !packPython || !packAll) {
      throw new Error('projen has no tasks "package:js", "package:python" and "package-all" any more: find what packs, and check around it');
    }
    packJs.prependExec('node scripts/check-assets.js');
    packJs.exec('node scripts/check-tarball.js');
    packPython.exec('python3 scripts/python_types.py dist/python');

    this.test = project.addTask('packages:run', { description: 'Pack what is built, and test that' });
    this.test.spawn(project.compileTask);
    this.test.exec('rm -rf dist/js dist/python');
    this.test.spawn(packAll);
    this.test.spawn(project.addTask('packages:test', {
      description: 'Run the tests on what is packed',
      exec: 'jest --ci --config test/packages/jest.json',
      receiveArgs: true,
    }));
    const all = project.addTask('packages', { description: 'Pack for npm and PyPI, and test what was packed in applications of its own' });
    all.spawn(options.layers.buildAll);
    all.spawn(this.test);
  }
}
