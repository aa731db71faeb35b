import { Component, Project, Task } from 'projen';

const TOOLS = '.rehearsal';

/** Where npm lacks the tag "cjs" of node-fetch, which a package of verdaccio's names, its version does. */
const MANIFEST = JSON.stringify({ private: true, overrides: { 'node-fetch': '2.6.7' } });

/** A release, as the workflow makes it, to registries on this machine. */
export class ReleaseRehearsal extends Component {
  /** Runs the workflow's own steps, and installs what they published. */
  public readonly rehearse: Task;

  constructor(project: Project) {
    super(project);
    this.rehearse = project.addTask('release:rehearse', {
      description: 'Run the release workflow\'s steps against registries on this machine, and follow the README with what they published',
      steps: [
        { exec: `mkdir -p ${TOOLS} && echo '${MANIFEST}' > ${TOOLS}/package.json` },
        { exec: 'npm install --no-audit --no-fund --no-package-lock verdaccio@6.8.0 yaml@2.9.1', cwd: TOOLS },
        { exec: `python3 -m venv ${TOOLS}/venv && ${TOOLS}/venv/bin/python -m pip install --quiet pypiserver[passlib]==2.4.2` },
        { exec: 'node scripts/rehearse-release.js', receiveArgs: true },
      ],
    });
  }
}
