import { execFileSync } from 'child_process';
import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { unpack } from '../../scripts/fetch-published';
import { testWithPlainPython } from '../prerequisite';

const test = testWithPlainPython();

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'published-'));
});

test('takes the JavaScript package out of a jsii wheel', () => {
  const jsii = path.join(folder, 'a_construct', '_jsii');
  fs.mkdirSync(jsii, { recursive: true });
  fs.mkdirSync(path.join(folder, 'package', 'lib'), { recursive: true });
  fs.writeFileSync(path.join(folder, 'package', 'lib', 'index.js'), 'exports.one = 1;');
  execFileSync('python3', ['-m', 'tarfile', '-c', path.join(jsii, 'a-construct@1.0.0.jsii.tgz'), 'package'], { cwd: folder });
  const wheel = path.join(folder, 'a_construct-1.0.0-py3-none-any.whl');
  execFileSync('python3', ['-m', 'zipfile', '-c', wheel, 'a_construct'], { cwd: folder });

  unpack('python3', wheel, path.join(folder, 'node_modules'));

  expect(fs.readFileSync(path.join(folder, 'node_modules', 'a-construct', 'lib', 'index.js'), 'utf8')).toBe('exports.one = 1;');
});
