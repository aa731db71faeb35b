import { Component, Project, Task } from 'projen';

/** The project's own Python environment in .venv/: tools that build, and servers and checkers for the tests. */
export class PythonEnvironment extends Component {
  /** Makes it, if it is missing or stale. */
  public readonly make: Task;

  constructor(project: Project) {
    super(project);
    project.gitignore.exclude('/.venv/');
    this.make = project.addTask('python:venv', {
      description: 'Make .venv, with the packages that builds and tests ask for',
      exec: 'node scripts/make-venv.js',
    });
  }
}
