import * as fs from 'fs';
import * as path from 'path';
import { atLeast, NODE_MINIMUM, problems, TOOLS } from '../../scripts/preflight';

const ROOT = path.join(__dirname, '..', '..');

/** What a ready machine answers. */
const ANSWERS: Record<string, string> = {
  'cargo --version': 'cargo 1.95.0 (f2d3ce0bd 2026-03-21)\n',
  'cargo fmt --version': 'rustfmt 1.9.0-stable\n',
  'cargo clippy --version': 'clippy 0.1.95\n',
  'cc --version': 'cc (Debian 12.2.0-14) 12.2.0\n',
  'node scripts/rust-targets.js': '',
  'go version': 'go version go1.26.8 linux/amd64\n',
  'python3 --version': 'Python 3.11.7\n',
  'env -i PATH=/usr/local/bin:/usr/bin:/bin python3 --version': 'Python 3.11.2\n',
  'python3 -c import ensurepip, venv; print("venv")': 'venv\n',
  'curl --version': 'curl 7.88.1 (x86_64-pc-linux-gnu) libcurl/7.88.1\n',
  'test -c /dev/net/tun': '',
  'ip -V': 'ip utility, iproute2-6.1.0, libbpf 1.1.0\n',
};

function machine(changes: Record<string, string | undefined> = {}, platform = 'linux', nodeVersion = '20.20.2') {
  const answers: Record<string, string | undefined> = { ...ANSWERS, ...changes };
  return { platform, nodeVersion, ask: (command: string[]) => answers[command.join(' ')] };
}

test('finds nothing wrong with a ready machine', () => {
  expect(problems(machine(), { tests: true })).toEqual([]);
});

test('names everything that is missing at once, each with the way to get it', () => {
  const bare = { platform: 'darwin', nodeVersion: '18.19.0', ask: () => undefined };

  const found = problems(bare, { tests: true });

  expect(found).toHaveLength(2 + TOOLS.length);
  expect(found[0]).toBe('Linux is needed, and this is darwin: use a Linux machine, a virtual machine or WSL 2');
  expect(found[1]).toBe(`Node.js ${NODE_MINIMUM} or later is needed, and this is 18.19.0: install it from https://nodejs.org`);
  for (const [index, tool] of TOOLS.entries()) {
    expect(found[index + 2]).toContain(tool.name);
    expect(found[index + 2]).toContain(tool.remedy);
  }
});

test.each([
  ['cargo --version', 'cargo 1.93.2 (abc 2026-01-01)', 'Rust (cargo) 1.94.1 or later is needed, and this is 1.93.2: '],
  ['go version', 'go version go1.25.3 linux/amd64', 'Go 1.26 or later is needed, and this is 1.25.3: '],
  ['python3 --version', 'Python 3.8.10', 'Python 3 3.9 or later is needed, and this is 3.8.10: '],
  ['cargo --version', 'no version here', 'Rust (cargo) 1.94.1 or later is needed, and this is "no version here": '],
])('names the version of %s when it is too old', (command, answer, problem) => {
  expect(problems(machine({ [command]: answer }), { tests: false })).toEqual([expect.stringContaining(problem)]);
});

test('asks for rustfmt and clippy only where the tests will run', () => {
  const without = machine({ 'cargo fmt --version': undefined, 'cargo clippy --version': undefined });

  expect(problems(without, { tests: false })).toEqual([]);
  expect(problems(without, { tests: true })).toEqual([expect.stringContaining('rustfmt'), expect.stringContaining('clippy')]);
});

test.each([
  ['1.94.1', '1.94.1', true],
  ['1.100.0', '1.94.1', true],
  ['2.0', '1.94.1', true],
  ['1.94', '1.94.1', false],
  ['1.9.9', '1.94.1', false],
  ['1.26.8', '1.26', true],
])('takes %s for at least %s: %s', (version, minimum, expected) => {
  expect(atLeast(version, minimum)).toBe(expected);
});

test('asks for what the sources ask for', () => {
  const minimum = (name: string) => TOOLS.find((tool) => tool.name === name)?.minimum;
  const read = (file: string) => fs.readFileSync(path.join(ROOT, file), 'utf8');

  expect(read('rust/Cargo.toml')).toContain(`rust-version = "${minimum('Rust (cargo)')}"`);
  expect(read('tailscaled/go.mod')).toMatch(new RegExp(`^go ${minimum('Go')}\\b`, 'm'));
  expect(JSON.parse(read('package.json')).engines.node).toBe(`>= ${NODE_MINIMUM}`);
});
