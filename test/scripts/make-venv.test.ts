import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { fingerprint, isFresh } from '../../scripts/make-venv';

let venv: string;

beforeEach(() => {
  venv = fs.mkdtempSync(path.join(os.tmpdir(), 'venv-'));
});

test('other requirements or another Python are another environment', () => {
  const made = fingerprint('moto==5.1.0', 'Python 3.11.7');

  expect(fingerprint('moto==5.1.0', 'Python 3.11.7')).toBe(made);
  expect(fingerprint('moto==5.2.0', 'Python 3.11.7')).not.toBe(made);
  expect(fingerprint('moto==5.1.0', 'Python 3.12.1')).not.toBe(made);
});

test('an environment is fresh only if it was finished, and from the same', () => {
  expect(isFresh(venv, 'abc')).toBe(false);

  fs.writeFileSync(path.join(venv, '.made-from'), 'abc');

  expect(isFresh(venv, 'abc')).toBe(true);
  expect(isFresh(venv, 'xyz')).toBe(false);
});
