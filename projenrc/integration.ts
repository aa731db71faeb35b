import { awscdk, Component, Task } from 'projen';

/** Types are checked elsewhere, so that the apps start in seconds. */
const RUNNER = 'integ-runner --directory test/integ --test-regex "^integ\\..*\\.ts$" ' +
  '--app "ts-node --transpile-only --project test/tsconfig.json {filePath}"';

/** The tests that ask AWS itself, and the snapshots of the stacks that they deploy. */
export class Integration extends Component {
  /** Compares the stacks with their snapshots, but for the hashes of assets. Asks nobody; needs the zips. */
  public readonly snapshot: Task;

  constructor(project: awscdk.AwsCdkConstructLibrary) {
    super(project);
    // Of the assertions' versions, one for the lowest CDK that the package is for, or an earlier one.
    project.addDevDeps('@aws-cdk/integ-runner', '@aws-cdk/integ-tests-alpha@2.214.0-alpha.0');
    // The zips, and what else is built.
    project.gitignore.exclude('/test/integ/*.snapshot/asset.*', '/test/integ/cdk-integ.out.*');

    this.snapshot = project.addTask('integ:snapshot', {
      description: 'Compare the stacks of the tests on AWS with their snapshots, without AWS',
      receiveArgs: true,
      exec: RUNNER,
    });
    // Forced, because neither other zips nor other assertions are a difference to the snapshot.
    project.addTask('integ', {
      description: 'Run the tests on AWS, and renew the snapshots; with --dry-run it does only that, without AWS',
      receiveArgs: true,
      exec: `${RUNNER} --update-on-failed --force`,
    });
  }
}
