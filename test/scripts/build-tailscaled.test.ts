import * as fs from 'fs';
import * as path from 'path';
import { omitTags } from '../../scripts/build-tailscaled';

test('each word of the feature list becomes a tag, comments aside', () => {
  expect(omitTags('# a comment: ssh\nace acme\n  tap # another\n\n')).toEqual(['ts_omit_ace', 'ts_omit_acme', 'ts_omit_tap']);
});

test('a word that is no feature name is refused', () => {
  expect(() => omitTags('ace -ldflags=x')).toThrow('tailscaled/features.txt: "-ldflags=x" is no feature name');
});

test('the features that the extension lives on stay in', () => {
  const tags = omitTags(fs.readFileSync(path.join(__dirname, '..', '..', 'tailscaled', 'features.txt'), 'utf8'));

  expect(tags.length).toBeGreaterThan(50);
  for (const kept of ['unixsocketidentity', 'debug', 'dns', 'netstack', 'outboundproxy']) {
    expect(tags).not.toContain(`ts_omit_${kept}`);
  }
});
