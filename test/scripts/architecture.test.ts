import { chosenArchitectures, hostArchitecture } from '../../scripts/architecture';

test('this machine\'s architecture has Lambda\'s name', () => {
  expect(hostArchitecture('x64')).toBe('x86_64');
  expect(hostArchitecture('arm64')).toBe('arm64');
  expect(() => hostArchitecture('ia32')).toThrow('this machine\'s architecture is ia32: it must be one of x64, arm64');
});

test('the command line chooses one or all, else this machine does', () => {
  expect(chosenArchitectures('arm64')).toEqual(['arm64']);
  expect(chosenArchitectures('all')).toEqual(['x86_64', 'arm64']);
  expect(chosenArchitectures(undefined)).toEqual([hostArchitecture()]);
  expect(() => chosenArchitectures('amd64')).toThrow('architecture is "amd64": it must be one of x86_64, arm64, all');
});
