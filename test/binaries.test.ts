import * as lambda from 'aws-cdk-lib/aws-lambda';
import { FIXTURE_ASSETS } from './constructs';
import { assetPath, Binary } from '../src/binaries';

test('says which zip is missing for which architecture, and what to do', () => {
  const architecture = lambda.Architecture.custom('riscv64');

  expect(() => assetPath(Binary.PROXY, architecture, FIXTURE_ASSETS))
    .toThrow(/architecture is "riscv64".*no proxy\.zip.*choose another architecture.*npx projen layers:build/);
});
