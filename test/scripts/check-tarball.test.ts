import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { BUDGET, tarballProblems } from '../../scripts/check-tarball';

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'packed-'));
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

/** Makes a file of so many bytes that takes no room. */
function pack(name: string, bytes: number): void {
  fs.closeSync(fs.openSync(path.join(folder, name), 'w'));
  fs.truncateSync(path.join(folder, name), bytes);
}

test('takes a tarball that just fits', () => {
  pack('fits.tgz', BUDGET);

  expect(tarballProblems(folder)).toEqual([]);
});

test('refuses one that is a byte larger', () => {
  pack('fits.tgz', BUDGET);
  pack('large.tgz', BUDGET + 1);

  expect(tarballProblems(folder)).toEqual(['large.tgz has 30000001 bytes, and may have 30000000']);
});

test('refuses a folder without one', () => {
  pack('other.whl', 1);

  expect(tarballProblems(folder)).toEqual([`${folder} holds no tarball`]);
  expect(tarballProblems(path.join(folder, 'missing'))).toEqual([expect.stringContaining('missing holds no tarball')]);
});
