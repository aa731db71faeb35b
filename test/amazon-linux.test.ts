import * as lambda from 'aws-cdk-lib/aws-lambda';
import { isOnAmazonLinux2 } from '../src/amazon-linux';

test('every runtime that the CDK knows is told apart', () => {
  const recent = lambda.Runtime.ALL.filter((runtime) => !isOnAmazonLinux2(runtime)).map(({ name }) => name);

  // A later CDK knows later runtimes, which are on Amazon Linux 2023 or after it.
  expect(recent).toEqual(expect.arrayContaining([
    'nodejs20.x', 'nodejs22.x', 'python3.12', 'python3.13', 'java21', 'dotnet8', 'ruby3.3', 'provided.al2023',
  ]));
  expect(recent).not.toEqual(expect.arrayContaining([expect.stringMatching(/al2$|^python3\.(\d|1[01])$|^java(8|11|17)$|^nodejs1|^ruby(2|3\.2)/)]));
});
