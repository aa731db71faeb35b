import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { render, standardText, textsIn } from '../../scripts/licence-texts';

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'licences-'));
});

test('finds licences and notices under the names that they go by, and no source code', () => {
  for (const name of ['LICENSE-MIT', 'NOTICE', 'COPYING.txt', 'LICENCE.md', 'license_test.go', 'README.md', 'licenser.txt']) {
    fs.writeFileSync(path.join(folder, name), `text of ${name}\r\n`);
  }

  expect(textsIn(folder)).toEqual(['COPYING.txt', 'LICENCE.md', 'LICENSE-MIT', 'NOTICE'].map((name) => `text of ${name}`));
});

test('each text stands once, below all that it covers, whatever the order', () => {
  const components = [
    { name: 'beta 1', texts: ['same'] }, { name: 'alpha 2', texts: ['same', 'other'] }, { name: 'beta 1', texts: ['same'] },
  ];

  const rendered = render(components);

  expect(rendered).toContain('alpha 2\nbeta 1\n\nsame\n');
  expect(rendered.match(/same/g)).toHaveLength(1);
  expect(rendered).toContain('alpha 2\n\nother\n');
  expect(render(components.reverse())).toBe(rendered);
});

test('what brings no text along gets the standard one of a licence that it names', () => {
  expect(standardText('some-crate 1', 'Apache-2.0 OR MIT', 'Somebody')).toContain('Apache License');
  expect(standardText('some-crate 1', 'MIT', 'Somebody')).toMatch(/^MIT License\n\nCopyright \(c\) Somebody\n\nPermission is hereby granted/);
});

test('what has neither is refused', () => {
  expect(() => standardText('some-crate 1', 'WTFPL', 'Somebody'))
    .toThrow('some-crate 1 holds no licence text, and its licence is "WTFPL": add the text to scripts/licences/');
});
