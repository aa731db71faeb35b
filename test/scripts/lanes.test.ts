import { report, sideBySide, table } from '../../scripts/jobs';
import { runLanes } from '../../scripts/lanes';

beforeEach(() => {
  jest.spyOn(console, 'log').mockImplementation();
});

afterEach(() => {
  jest.restoreAllMocks();
});

const ran = async (lanes: string[], failing?: string) => {
  const order: string[] = [];
  const results = await runLanes(lanes, async (name, prefix) => {
    order.push([...prefix, name, 'begins'].join(' '));
    await Promise.resolve();
    order.push(`${name} ends`);
    return { name, seconds: 1, passed: name !== failing, output: '' };
  });
  return { order, names: results.map(({ name }) => name) };
};

test('a task runs after the end of what it waits for, and a lane gives way where it is told to', async () => {
  const { order, names } = await ran(['after:a b', 'beneath a c']);
  expect(names).toEqual(['b', 'a', 'c']);
  expect(order[0]).toBe('nice -n 19 a begins');
  expect(order.indexOf('b begins')).toBeGreaterThan(order.indexOf('a ends'));
});

test('a task does not run where what it waits for failed, or never runs', async () => {
  expect((await ran(['after:a b', 'a c'], 'a')).names).toEqual(['a']);
  expect((await ran(['after:c b', 'a c', 'd'], 'a')).names).toEqual(['a', 'd']);
  await expect(ran(['a', 'after:b c'])).rejects.toThrow('no lane has the task of "after:b"');
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

test('the end of a run shows the last lines of what failed, and names it', () => {
  const long = Array.from({ length: 100 }, (_, line) => `line ${line}`).join('\n');
  const results = [{ name: 'a', seconds: 1, passed: true, output: 'silent' }, { name: 'b', seconds: 2, passed: false, output: long }];
  expect(() => report(results)).toThrow('failed: b');
  const printed = jest.mocked(console.log).mock.calls.join('\n');
  expect(printed).toMatch(/=== b failed; its last lines:\nline 20\n(.*\n)+line 99\n/);
  expect(printed).not.toContain('silent');
});
