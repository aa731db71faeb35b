import { execFileSync } from 'child_process';
import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { writeZip } from '../../scripts/zip';
import { testWithPython } from '../prerequisite';

// libdeflate, which compresses, comes as a Python package.
const test = testWithPython();

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'layers-'));
});

function write(name: string, content: string, mode: number, time: Date): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, content, { mode });
  fs.utimesSync(file, time, time);
  return file;
}

/** Names and permissions as Python's zipfile reads them: another implementation than the one that wrote. */
function list(zip: string): string[] {
  const script = 'import sys, zipfile\n' +
    'for i in zipfile.ZipFile(sys.argv[1]).infolist(): print(i.filename, oct(i.external_attr >> 16), i.date_time)';
  return execFileSync('python3', ['-c', script, zip], { encoding: 'utf8' }).trim().split('\n');
}

test('equal contents make equal zips, whatever the order, the times and the modes of the files', () => {
  const first = {
    'extensions/b': write('b1', 'second', 0o600, new Date('2020-01-01')),
    'bin/a': write('a1', 'first', 0o755, new Date('2021-01-01')),
  };
  const again = {
    'bin/a': write('a2', 'first', 0o644, new Date('2026-06-06')),
    'extensions/b': write('b2', 'second', 0o755, new Date('2026-06-07')),
  };

  writeZip(path.join(folder, 'one', 'layer.zip'), first);
  writeZip(path.join(folder, 'two', 'layer.zip'), again);

  const bytes = fs.readFileSync(path.join(folder, 'one', 'layer.zip'));
  expect(bytes.equals(fs.readFileSync(path.join(folder, 'two', 'layer.zip')))).toBe(true);
});

test('everything inside is executable, sorted, and of 1980', () => {
  const zip = path.join(folder, 'layer.zip');

  writeZip(zip, { 'extensions/b': write('b', 'second', 0o600, new Date()), 'bin/a': write('a', 'first', 0o600, new Date()) });

  expect(list(zip)).toEqual(['bin/a 0o100755 (1980, 1, 1, 0, 0, 0)', 'extensions/b 0o100755 (1980, 1, 1, 0, 0, 0)']);
});

test('the time zone leaves no trace', () => {
  const source = write('a', 'first', 0o755, new Date());
  const build = (zone: string) => {
    const zip = path.join(folder, `${zone.replace('/', '-')}.zip`);
    const script = 'require(process.argv[1]).writeZip(process.argv[2], { a: process.argv[3] })';
    const module = path.join(__dirname, '..', '..', 'scripts', 'zip.js');
    execFileSync(process.execPath, ['-e', script, module, zip, source], { env: { ...process.env, TZ: zone } });
    return fs.readFileSync(zip);
  };

  expect(build('Pacific/Auckland').equals(build('America/Los_Angeles'))).toBe(true);
});

test('a zip that cannot be finished leaves the old one as it was, and nothing beside it', () => {
  const zip = path.join(folder, 'layer.zip');
  fs.writeFileSync(zip, 'the old one');

  expect(() => writeZip(zip, { a: path.join(folder, 'absent') })).toThrow('absent');

  expect(fs.readFileSync(zip, 'utf8')).toBe('the old one');
  expect(fs.readdirSync(folder)).toEqual(['layer.zip']);
});
