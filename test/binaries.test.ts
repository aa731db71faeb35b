import * as fs from 'fs';
import * as path from 'path';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { FIXTURE_ASSETS } from './fixture-zips';
import { assetPath, Binary } from '../src/binaries';

test.each([
  [lambda.Architecture.X86_64, 'x86_64'],
  [lambda.Architecture.ARM_64, 'arm64'],
])('finds the zips of %s', (architecture, folder) => {
  const proxy = assetPath(Binary.PROXY, architecture, FIXTURE_ASSETS);
  const extension = assetPath(Binary.EXTENSION, architecture, FIXTURE_ASSETS);

  expect(proxy).toBe(path.join(FIXTURE_ASSETS, folder, 'proxy.zip'));
  expect(extension).toBe(path.join(FIXTURE_ASSETS, folder, 'extension.zip'));
  expect(fs.existsSync(proxy) && fs.existsSync(extension)).toBe(true);
});

test('says which zip is missing for which architecture, and what to do', () => {
  const architecture = lambda.Architecture.custom('riscv64');

  expect(() => assetPath(Binary.PROXY, architecture, FIXTURE_ASSETS))
    .toThrow(/architecture is "riscv64".*no proxy\.zip.*choose another architecture.*npx projen layers:build/);
});
