import { sideBySide, table } from '../../scripts/jobs';
import { stages } from '../../scripts/lanes';

beforeEach(() => {
  jest.spyOn(console, 'log').mockImplementation();
});

afterEach(() => {
  jest.restoreAllMocks();
});

test('stages are told apart by a word, lanes by arguments', () => {
  expect(stages(['a b', 'c', 'then', 'd'])).toEqual([[['a', 'b'], ['c']], [['d']]]);
  expect(() => stages([])).toThrow('a stage without tasks');
  expect(() => stages(['a', 'then'])).toThrow('a stage without tasks');
});

test('a job that fails stops no other, and the table names it, the longest first', async () => {
  const results = await sideBySide([
    { name: 'fails', command: ['sh', '-c', 'echo why >&2; exit 3'] },
    { name: 'is missing', command: ['no-such-program'] },
    { name: 'passes', command: ['true'] },
  ], 2);
  expect(results.map(({ name, passed }) => [name, passed])).toEqual([['fails', false], ['is missing', false], ['passes', true]]);
  expect(results[0].output).toBe('why\nsh ended with exit code 3\n');
  expect(results[1].output).toMatch(/^no-such-program could not be started: .*ENOENT/);
  expect(table([{ name: 'short', seconds: 1, passed: true, output: '' }, { name: 'long', seconds: 20.25, passed: false, output: '' }]))
    .toBe('    20.3 s  FAILED  long\n     1.0 s          short');
});
