import { execFileSync } from 'child_process';
import { createHash } from 'crypto';
import * as fs from 'fs';
import * as os from 'os';
import * as path from 'path';
import { writeImage } from '../../scripts/build-image';
import { testWithPlainPython } from '../prerequisite';

const test = testWithPlainPython();

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'image-test-'));
});

/** A zip like the layer's: the programs are scripts that say who they are. */
function zip(architecture: string): string {
  const content = path.join(folder, architecture);
  for (const name of ['extensions/tailscale-extension', 'bin/tailscaled']) {
    fs.mkdirSync(path.join(content, path.dirname(name)), { recursive: true });
    fs.writeFileSync(path.join(content, name), `#!/bin/sh\necho ${name} ${architecture}\n`, { mode: 0o755 });
  }
  const file = path.join(folder, `${architecture}.zip`);
  execFileSync('python3', ['-m', 'zipfile', '-c', file, 'extensions', 'bin'], { cwd: content });
  return file;
}

interface Descriptor { digest: string; size: number; platform?: { architecture: string } }

test('the image is a layout whose blobs are what they are called, with /opt for each architecture', () => {
  const file = path.join(folder, 'image.tar');
  writeImage({ x86_64: zip('x86_64'), arm64: zip('arm64') }, '1.2.3', file);

  const layout = path.join(folder, 'layout');
  fs.mkdirSync(layout);
  execFileSync('tar', ['-xf', file, '-C', layout]);
  const blob = ({ digest, size }: Descriptor) => {
    const content = fs.readFileSync(path.join(layout, 'blobs', digest.replace(':', '/')));
    expect([`sha256:${createHash('sha256').update(content).digest('hex')}`, content.length]).toEqual([digest, size]);
    return content;
  };
  const json = (descriptor: Descriptor) => JSON.parse(blob(descriptor).toString());
  const top = JSON.parse(fs.readFileSync(path.join(layout, 'index.json'), 'utf8'));
  expect(top.manifests[0].annotations).toEqual({ 'org.opencontainers.image.ref.name': '1.2.3' });
  const { manifests } = json(top.manifests[0]);
  expect(manifests.map(({ platform }: Descriptor) => platform?.architecture)).toEqual(['amd64', 'arm64']);
  for (const [manifest, architecture] of [[manifests[0], 'x86_64'], [manifests[1], 'arm64']]) {
    const { config, layers } = json(manifest);
    expect(json(config).rootfs.diff_ids).toHaveLength(1);
    const layer = path.join(folder, 'layer.tar.gz');
    fs.writeFileSync(layer, blob(layers[0]));
    const root = path.join(folder, `root-${architecture}`);
    fs.mkdirSync(root);
    execFileSync('tar', ['-xzf', layer, '-C', root]);
    const program = path.join(root, 'opt/extensions/tailscale-extension');
    expect(execFileSync(program, { encoding: 'utf8' })).toBe(`extensions/tailscale-extension ${architecture}\n`);
    expect(fs.existsSync(path.join(root, 'opt/bin/tailscaled'))).toBe(true);
  }
});

test('the same zips make the same bytes', () => {
  const zips = { x86_64: zip('x86_64') };
  for (const name of ['one', 'two']) {
    writeImage(zips, '1.2.3', path.join(folder, name));
  }
  expect(fs.readFileSync(path.join(folder, 'one')).equals(fs.readFileSync(path.join(folder, 'two')))).toBe(true);
});
