import * as fs from 'fs';
import * as path from 'path';
import contract from './fixtures/environment.json';

const README = fs.readFileSync(path.join(__dirname, '..', 'README.md'), 'utf8');

test('the README\'s table of variables says what the contract says', () => {
  const rows = README.split('\n').filter((line) => line.startsWith('| `TS_')).map((line) => line.replaceAll('`', ''));

  const owners = (name: string) => contract.filter((entry) => entry.name === name).map(({ owner }) => owner).join(', ');
  const expected = new Set(contract.map(({ name, meaning }) => `| ${name} | ${owners(name)} | ${meaning} |`));
  expect(new Set(rows)).toEqual(expected);
});

test('every npm command that the README names is there', () => {
  const { scripts } = JSON.parse(fs.readFileSync(path.join(__dirname, '..', 'package.json'), 'utf8'));
  const named = [...README.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name);

  expect(named.length).toBeGreaterThan(0);
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(named));
});
