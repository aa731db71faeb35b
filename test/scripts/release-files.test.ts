import { spawnSync } from 'child_process';
import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { checksums, namedZips } from '../../scripts/release-files';

test('the zips of all architectures have names of their own', () => {
  const names = namedZips('assets').map(([name]) => name);
  expect(names).toEqual(expect.arrayContaining(['caller-x86_64.zip', 'caller-arm64.zip', 'extension-x86_64.zip', 'extension-arm64.zip', 'proxy-x86_64.zip', 'proxy-arm64.zip']));
  expect(new Set(names).size).toBe(names.length);
});

test('sha256sum accepts the checksums', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'checksums-'));
  fs.writeFileSync(path.join(folder, 'b.zip'), 'b');
  fs.writeFileSync(path.join(folder, 'a.zip'), 'a');
  fs.writeFileSync(path.join(folder, 'SHA256SUMS'), checksums(folder));
  expect(checksums(folder).split('\n')).toHaveLength(3);
  const { status, stdout } = spawnSync('sha256sum', ['--check', 'SHA256SUMS'], { cwd: folder, encoding: 'utf8' });
  expect({ status, stdout }).toEqual({ status: 0, stdout: 'a.zip: OK\nb.zip: OK\n' });
});

test('the templates use zips that are released beside them', () => {
  const read = (name: string) => fs.readFileSync(path.join(__dirname, '..', '..', 'templates', name), 'utf8');
  const zips = [
    ...read('template.yaml').match(/(?<=Uri: )\S+/g) ?? [],
    ...['x86_64', 'arm64'].flatMap((architecture) =>
      [...read('main.tf').matchAll(/\$\{path\.module\}\/([^"]+)/g)].map(([, name]) => name.replace('${var.architecture}', architecture))),
  ];

  expect(zips).toHaveLength(6);
  expect(namedZips('assets').map(([name]) => name)).toEqual(expect.arrayContaining(zips));
});
