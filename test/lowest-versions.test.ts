import * as fs from 'fs';
import * as path from 'path';

const read = (...names: string[]) => JSON.parse(fs.readFileSync(path.join(__dirname, '..', ...names, 'package.json'), 'utf8'));

test.each(['aws-cdk-lib', 'constructs'])('the tests run with the lowest version of %s that the package is for', (name) => {
  const { peerDependencies } = read();

  expect(peerDependencies[name]).toBe(`^${read('node_modules', name).version}`);
});

test.each(['API.md', 'docs/API.python.md'])('%s shows no members that the lowest version of constructs has not', (page) => {
  const api = fs.readFileSync(path.join(__dirname, '..', page), 'utf8');

  expect(api).toContain('TailscaleLambdaProxy');
  expect(api).not.toContain('IMixin');
});
