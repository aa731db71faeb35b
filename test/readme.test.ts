import * as fs from 'fs';
import * as path from 'path';
import contract from './fixtures/environment.json';

const ROOT = path.join(__dirname, '..');
const README = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');

test('the README\'s table of variables says what the contract says', () => {
  const rows = README.split('\n').filter((line) => line.startsWith('| `TS_')).map((line) => line.replaceAll('`', ''));

  const owners = (name: string) => contract.filter((entry) => entry.name === name).map(({ owner }) => owner).join(', ');
  const expected = new Set(contract.map(({ name, meaning }) => `| ${name} | ${owners(name)} | ${meaning} |`));
  expect(new Set(rows)).toEqual(expected);
});

test('every npm command that the README names is there', () => {
  const { scripts } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  const named = [...README.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name);

  expect(named.length).toBeGreaterThan(0);
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(named));
});

/** The project's pages, relative to its root. */
const PAGES = ['.', 'docs', 'examples', 'examples/typescript', 'examples/python'].flatMap((folder) =>
  fs.readdirSync(path.join(ROOT, folder)).filter((file) => file.endsWith('.md') && !file.startsWith('API.')).map((file) => path.join(folder, file)));

describe.each(PAGES)('%s', (page) => {
  const links = [...fs.readFileSync(path.join(ROOT, page), 'utf8').matchAll(/\]\((?!https?:)([^)]+)\)/g)].map(([, link]) => link);

  test.each(links)('links to %s, which is there', (link) => {
    const [file, anchor] = link.split('#');
    const target = path.join(ROOT, path.dirname(page), file || path.basename(page));
    expect(fs.existsSync(target)).toBe(true);
    if (anchor !== undefined) {
      expect(anchors(target)).toContain(anchor);
    }
  });
});

/** What GitHub makes of a page's headings. */
function anchors(file: string): string[] {
  const headings = fs.readFileSync(file, 'utf8').matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, heading]) => heading.toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-'));
}
