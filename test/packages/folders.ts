import * as path from 'path';

/** The project. */
export const ROOT = path.join(__dirname, '..', '..');

/** Where the installed applications are: outside of the project, so that nothing of it is found by accident. */
export function applications(): string {
  const folder = process.env.TEST_APPLICATIONS;
  if (folder === undefined) {
    throw new Error('BUG: nothing is installed');
  }
  return folder;
}

/** The CDK app in TypeScript that has nothing but the packed tarball. */
export const typescriptApp = () => path.join(applications(), 'typescript');

/** The CDK app in Python. */
export const pythonApp = () => path.join(applications(), 'python');

/** The Python that has nothing but the wheel. */
export const python = () => path.join(applications(), 'venv', 'bin', 'python');

/** A program of the project's own Python environment. */
export const tool = (name: string) => path.join(ROOT, '.venv', 'bin', name);
