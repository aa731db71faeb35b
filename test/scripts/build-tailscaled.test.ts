import { omitTags } from '../../scripts/build-tailscaled';

test('each word of the feature list becomes a tag, comments aside', () => {
  expect(omitTags('# a comment: ssh\nace acme\n  tap # another\n\n')).toEqual(['ts_omit_ace', 'ts_omit_acme', 'ts_omit_tap']);
});
