import * as fs from 'fs';

/** Removes the folder that setup made, and no other. */
export default function teardown(): void {
  const folder = process.env.TEST_TEMPORARY_FOLDER;
  if (folder === undefined) {
    throw new Error('BUG: teardown ran without setup');
  }
  fs.rmSync(folder, { recursive: true });
}
