import { awscdk } from 'projen';

/** The job that builds a release, as projen names it, and two of its steps. */
const JOB = 'release';
const TAG_STEP = 'check_tag_exists';
const COMMIT_STEP = 'git_remote';

/**
 * Makes the release workflow publish what a tag points to, under the tag's version, and on nothing but a tag.
 *
 * projen writes it for releases that start with a push to the branch: it publishes only if the version has no tag yet,
 * and if the branch still is where it was. With a tag, the one is never so, and the other cannot be asked.
 */
export function releaseOnTag(project: awscdk.AwsCdkConstructLibrary): void {
  const workflow = project.github?.tryFindWorkflow('release');
  if (!workflow) {
    throw new Error('projen makes no workflow "release" any more: find what releases, and let a tag start it');
  }
  workflow.file?.addDeletionOverride('on.push.branches');
  workflow.patchStep(JOB, TAG_STEP, {
    name: 'Check that the version is the tag\'s',
    run: [
      'TAG=$(cat dist/releasetag.txt)',
      'if [ "$GITHUB_REF_TYPE" != tag ]; then',
      '  echo "exists=true" >> "$GITHUB_OUTPUT"',
      'elif [ "$TAG" = "$GITHUB_REF_NAME" ]; then',
      '  echo "exists=false" >> "$GITHUB_OUTPUT"',
      'else',
      '  echo "::error::the tag is $GITHUB_REF_NAME, and what was built is $TAG: tags are v and the version, such as v1.2.3"',
      '  exit 1',
      'fi',
    ].join('\n'),
  });
  workflow.patchStep(JOB, COMMIT_STEP, {
    name: 'Say which commit was built',
    env: undefined,
    run: 'echo "latest_commit=$(git rev-parse HEAD)" >> "$GITHUB_OUTPUT"',
  });
}
