import { sideBySide, table } from '../../scripts/jobs';
import { lanes, runLanes } from '../../scripts/lanes';

beforeEach(() => {
  jest.spyOn(console, 'log').mockImplementation();
});

afterEach(() => {
  jest.restoreAllMocks();
});

test('a lane has tasks, and waits for those of others', () => {
  expect(lanes(['a b', 'beneath after:a c'])).toEqual([
    { prefix: [], steps: [{ task: 'a' }, { task: 'b' }] },
    { prefix: ['nice', '-n', '19'], steps: [{ after: 'a' }, { task: 'c' }] },
  ]);
  expect(() => lanes([''])).toThrow('a lane without tasks');
  expect(() => lanes(['a', 'beneath after:a'])).toThrow('a lane without tasks');
  expect(() => lanes(['a', 'after:b c'])).toThrow('no lane has the task "b"');
  expect(() => lanes(['after:b a', 'c after:a b'])).toThrow('lanes wait for each other, and "b" never runs');
  expect(() => lanes(['after:a a'])).toThrow('lanes wait for each other');
});

describe('a task runs after what it waits for, and', () => {
  const ran = async (words: string[], failing?: string) => {
    const order: string[] = [];
    const results = await runLanes(lanes(words), async (name) => {
      order.push(`${name} begins`);
      await Promise.resolve();
      order.push(`${name} ends`);
      return { name, seconds: 1, passed: name !== failing, output: '' };
    });
    return { order, names: results.map(({ name }) => name) };
  };

  test('not before its end', async () => {
    const { order, names } = await ran(['after:a b', 'a c']);
    expect(names).toEqual(['b', 'a', 'c']);
    expect(order.indexOf('b begins')).toBeGreaterThan(order.indexOf('a ends'));
  });

  test('not at all where that failed, or will never run', async () => {
    expect((await ran(['after:a b', 'a c'], 'a')).names).toEqual(['a']);
    expect((await ran(['after:c b', 'a c', 'd'], 'a')).names).toEqual(['a', 'd']);
  });
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
