import { Component, Project, Task } from 'projen';
import { RELEASE_FILES } from './release';

/** CycloneDX's own library: it knows the format of each version, and validates what it wrote. */
const CYCLONEDX = ['@cyclonedx/cyclonedx-library@10.3.0', 'packageurl-js@2', 'ajv@8', 'ajv-formats@3', 'ajv-formats-draft2019@1'];

/** What a GitHub release carries: the zips, what is in them (CycloneDX), their licenses, and checksums of all of it. */
export class ReleaseFiles extends Component {
  /** Makes the files from zips that are built. */
  public readonly make: Task;

  constructor(project: Project) {
    super(project);
    this.make = project.addTask('release:files', {
      description: `Put the zips, their SBOM and checksums into ${RELEASE_FILES}`,
      steps: [
        // Not among the dependencies: only releases need it.
        { exec: `npm install --prefix .sbom --no-audit --no-fund --no-package-lock --legacy-peer-deps ${CYCLONEDX.join(' ')}` },
        { exec: `node scripts/release-files.js ${RELEASE_FILES}` },
      ],
    });
  }
}
