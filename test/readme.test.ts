import { spawnSync } from 'child_process';
import * as fs from 'fs';
import * as path from 'path';
import * as ts from 'typescript';
import contract from './fixtures/environment.json';
import { testWithPlainPython } from './prerequisite';

const ROOT = path.join(__dirname, '..');
const read = (page: string) => fs.readFileSync(path.join(ROOT, page), 'utf8');
const README = read('README.md');
/** Where the pages are for readers of npm and PyPI. */
const ONLINE = 'https://github.com/tailscale-lambda-proxy/tailscale-lambda-proxy/blob/main/';

test('the table of variables says what the contract says', () => {
  const rows = read('docs/environment.md').split('\n').filter((line) => line.startsWith('| `TS_')).map((line) => line.replaceAll('`', ''));

  const owners = (name: string) => contract.filter((entry) => entry.name === name).map(({ owner }) => owner).join(', ');
  const expected = new Set(contract.map(({ name, meaning }) => `| ${name} | ${owners(name)} | ${meaning} |`));
  expect(new Set(rows)).toEqual(expected);
});

test.each(['README.md', 'CONTRIBUTING.md', 'docs/signing.md'])('every npm command that %s names is there', (page) => {
  const { scripts } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  const named = [...read(page).matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name);

  expect(named.length).toBeGreaterThan(0);
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(named));
});

test('the README is short', () => {
  expect(README.trimEnd().split('\n').length).toBeLessThanOrEqual(180);
});

test('the README\'s links work on npm and PyPI, where no other page is', () => {
  const relative = [...README.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link).filter((link) => !/^(https:|#)/.test(link));
  expect(relative).toEqual([]);
});

test('SECURITY.md names what is pinned', () => {
  const page = read('SECURITY.md');
  expect(page).toContain(`| tailscaled | ${/tailscale\.com v(\S+)/.exec(read('tailscaled/go.mod'))?.[1]} |`);
  expect(page).toContain(`| Rust | ${/channel = "(.*)"/.exec(read('rust-toolchain.toml'))?.[1]} |`);
  expect(page).toContain(`| Go | ${/^go (\S+)/m.exec(read('tailscaled/go.mod'))?.[1]} or later |`);
});

test('CONTRIBUTING.md names every folder, and every crate', () => {
  const page = read('CONTRIBUTING.md');
  const folders = ['src', 'rust', 'tailscaled', 'test', 'examples', 'docs', 'scripts', 'projenrc'];
  const crates = [...(/members = \[(.*)\]/.exec(read('rust/Cargo.toml'))?.[1] ?? '').matchAll(/"([\w-]+)"/g)].map(([, name]) => name);
  expect(folders.filter((folder) => !page.includes(`| [${folder}](${folder})`))).toEqual([]);
  expect(crates.filter((crate) => !page.includes(`\`${crate}\``))).toEqual([]);
});

test('every warning at synth has its row', () => {
  const ids = [...read('src/warnings.ts').matchAll(/^ {2}[A-Z_]+ = '(\w+)'/gm)].map(([, id]) => id);
  expect(ids.length).toBeGreaterThan(5);
  expect(ids.filter((id) => !read('docs/troubleshooting.md').includes(`| \`${id}\` |`))).toEqual([]);
});

/** The code of one language in a page, block by block. */
function blocks(page: string, language: string): string[] {
  return [...read(page).matchAll(new RegExp(`^( *)\`\`\`${language}\\n([^]*?)^ *\`\`\`$`, 'gm'))]
    .map(([, indent, code]) => code.replace(new RegExp(`^${indent}`, 'gm'), ''));
}

/** The pages that are written by hand. */
const WRITTEN = ['README.md', ...fs.readdirSync(path.join(ROOT, 'docs')).filter((file) => file.endsWith('.md') && !file.startsWith('API.')).map((file) => `docs/${file}`)];

/** What the compiler says of codes, each with the name of what it is from. */
function compilerProblems(codes: { from: string; code: string }[]): string[] {
  const folder = fs.mkdtempSync(path.join(__dirname, '.pages-'));
  try {
    const files = codes.map(({ from, code }, index) => {
      const file = path.join(folder, `${path.basename(from, '.md')}-${index}.ts`);
      fs.writeFileSync(file, code);
      return file;
    });
    const { config } = ts.readConfigFile(path.join(ROOT, 'test', 'tsconfig.json'), ts.sys.readFile);
    const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files }, ts.sys, __dirname);
    return ts.getPreEmitDiagnostics(ts.createProgram(files, { ...options, noUnusedLocals: false }))
      .map(({ file, messageText }) => `${path.basename(file?.fileName ?? '')}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

test('the TypeScript in the pages compiles', () => {
  const codes = WRITTEN.flatMap((page) => blocks(page, 'ts').map((code) => ({ from: page, code })));
  expect(codes.length).toBeGreaterThan(4);
  expect(compilerProblems(codes)).toEqual([]);
}, 60_000);

test('the props that pages and messages name are there', () => {
  const sources = fs.readdirSync(path.join(ROOT, 'src')).map((file) => `src/${file}`);
  const prop = /(?<![\w.?])(?:options\.(?:lambda|warmer|extension)|metrics|cors|tsWorkloadIdentity)\.[a-z]\w*/g;
  const names = new Set([...WRITTEN, 'CHANGELOG.md', ...sources].flatMap((file) => read(file).match(prop) ?? []));
  expect(names.size).toBeGreaterThan(20);
  const uses = [...names].map((name) => `void props.${name.replaceAll('.', '?.')};`);
  const code = ['import { TailscaleLambdaProxyProps } from \'tailscale-lambda-proxy\';', 'declare const props: TailscaleLambdaProxyProps;', ...uses].join('\n');
  expect(compilerProblems([{ from: 'props', code }])).toEqual([]);
}, 60_000);

testWithPlainPython()('the Python in the README can be parsed, and names what there is', () => {
  const api = read('docs/API.python.md');
  const codes = blocks('README.md', 'python');
  expect(codes).toHaveLength(2);
  for (const code of codes) {
    const { status, stderr } = spawnSync('python3', ['-c', 'import ast, sys; ast.parse(sys.stdin.read())'], { input: code, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  }
  const names = codes.join().match(/Tailscale\w+|ts_\w+|lambda_(?==)|add_caller|alias(?==)/g) ?? [];
  expect(names.length).toBeGreaterThan(8);
  expect(names.filter((name) => !api.includes(name))).toEqual([]);
});

/** The project's pages, relative to its root. */
const PAGES = ['.', 'docs', 'examples', 'examples/typescript', 'examples/python'].flatMap((folder) =>
  fs.readdirSync(path.join(ROOT, folder)).filter((file) => file.endsWith('.md') && !file.startsWith('API.')).map((file) => path.join(folder, file)));

describe.each(PAGES)('%s', (page) => {
  const links = [...read(page).matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link)
    .map((link) => link.startsWith(ONLINE) ? path.relative(path.dirname(page), link.slice(ONLINE.length)) : link)
    .filter((link) => !/^https?:/.test(link));

  test('links to what is there', () => {
    const broken = links.filter((link) => {
      const [file, anchor] = link.split('#');
      const target = path.join(ROOT, path.dirname(page), file || path.basename(page));
      return !fs.existsSync(target) || anchor !== undefined && !anchors(target).includes(anchor);
    });
    expect(broken).toEqual([]);
  });
});

/** What GitHub makes of a page's headings. */
function anchors(file: string): string[] {
  const headings = fs.readFileSync(file, 'utf8').matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, heading]) => heading.toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-'));
}
