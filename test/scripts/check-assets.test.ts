import { execFileSync } from 'child_process';
import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { contents } from '../../scripts/build-layers';
import { assetProblems, BUDGETS } from '../../scripts/check-assets';
import { testWithPlainPython } from '../prerequisite';

const test = testWithPlainPython();

const MACHINES: Record<string, number> = { x86_64: 62, arm64: 183 };
let assets: string;

beforeEach(() => {
  assets = fs.mkdtempSync(path.join(os.tmpdir(), 'assets-'));
  for (const architecture of Object.keys(MACHINES)) {
    Object.entries(contents(architecture)).forEach(([zip, files]) => write(architecture, zip, Object.keys(files)));
  }
});

/** The beginning of an executable: as much as says what it was built for. */
function elf(architecture: string, size = 64): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.write('\x7fELF\x02\x01\x01', 'latin1');
  bytes.writeUInt16LE(MACHINES[architecture], 18);
  return bytes;
}

/** Writes a zip with Python: another implementation than the one that ships. */
function write(architecture: string, zip: string, names: string[], content = elf(architecture), mode = '755'): void {
  const script = 'import sys, zipfile\n' +
    'with zipfile.ZipFile(sys.argv[1], "w") as z:\n' +
    '  data = sys.stdin.buffer.read()\n' +
    '  for name in sys.argv[3:]:\n' +
    '    i = zipfile.ZipInfo(name); i.external_attr = (0o100000 | int(sys.argv[2], 8)) << 16; z.writestr(i, data)';
  fs.mkdirSync(path.join(assets, architecture), { recursive: true });
  execFileSync('python3', ['-c', script, path.join(assets, architecture, zip), mode, ...names], { input: content });
}

test('takes what is complete, executable and for its architecture', async () => {
  expect(await assetProblems(assets)).toEqual([]);
});

test('names every zip that is missing', async () => {
  fs.rmSync(path.join(assets, 'arm64', 'extension.zip'));
  fs.rmSync(path.join(assets, 'x86_64', 'proxy.zip'));

  expect(await assetProblems(assets)).toEqual([
    expect.stringContaining('x86_64/proxy.zip is missing'), expect.stringContaining('arm64/extension.zip is missing'),
  ]);
});

test('refuses a file that may not be run', async () => {
  write('arm64', 'proxy.zip', ['bootstrap'], elf('arm64'), '644');

  expect(await assetProblems(assets)).toEqual([expect.stringContaining('arm64/proxy.zip: bootstrap is not executable (mode 100644)')]);
});

test('refuses what was built for the other architecture, and what is no executable', async () => {
  write('arm64', 'proxy.zip', ['bootstrap'], elf('x86_64'));
  write('x86_64', 'proxy.zip', ['bootstrap'], Buffer.from('#!/bin/sh\nexit 0'));

  expect(await assetProblems(assets)).toEqual([
    expect.stringContaining('x86_64/proxy.zip: bootstrap is no 64-bit ELF executable'),
    expect.stringContaining('arm64/proxy.zip: bootstrap is built for x86_64'),
  ]);
});

test('refuses what needs a C library', async () => {
  const dynamic = elf('arm64', 64 + 56);
  dynamic.writeBigUInt64LE(64n, 32);
  dynamic.writeUInt16LE(56, 54);
  dynamic.writeUInt16LE(1, 56);
  dynamic.writeUInt32LE(3, 64);
  for (const zip of ['proxy.zip', 'extension.zip', 'caller.zip']) {
    write('arm64', zip, Object.keys(contents('arm64')[zip]), dynamic);
  }

  expect(await assetProblems(assets)).toEqual([
    expect.stringContaining('arm64/proxy.zip: bootstrap needs a C library, and must be linked statically'),
    ...['bin/tailscaled', 'extensions/tailscale-extension'].map((name) => (
      expect.stringContaining(`arm64/extension.zip: ${name} needs a C library, and must be linked statically`))),
    expect.stringContaining('arm64/caller.zip: extensions/tailscale-caller needs a C library, and must be linked statically'),
  ]);
});

test('refuses a layer without the daemon', async () => {
  write('x86_64', 'extension.zip', ['extensions/tailscale-extension']);

  expect(await assetProblems(assets)).toEqual([
    expect.stringMatching(/extension\.zip: it holds extensions\/tailscale-extension, and must hold bin\/tailscaled, /),
  ]);
});

test('refuses what is over a budget', async () => {
  const [together, alone] = BUDGETS;
  write('x86_64', 'proxy.zip', ['bootstrap'], elf('x86_64', together.budget));
  write('arm64', 'caller.zip', ['extensions/tailscale-caller'], elf('arm64', alone.budget));

  expect(await assetProblems(assets)).toEqual([
    expect.stringMatching(/^proxy\.zip and extension\.zip of x86_64 have \d+ bytes together, and may have 12000000$/),
    expect.stringMatching(/^caller\.zip of arm64 have \d+ bytes together, and may have 3000000$/),
  ]);
});
