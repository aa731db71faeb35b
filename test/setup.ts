import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';

/** Gives the tests a temporary folder of their own, because every synth leaves a cloud assembly behind, and tests their files. */
export default function setup(): void {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tailscale-lambda-proxy-test-'));
  process.env.TMPDIR = folder;
  process.env.TEST_TEMPORARY_FOLDER = folder;
}
