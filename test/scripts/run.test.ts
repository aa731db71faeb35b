import { run, runMain } from '../../scripts/run';

test('a command that fails is named, with its exit code', () => {
  expect(() => run('sh', ['-c', 'exit 3'])).toThrow('sh -c exit 3 failed with exit code 3');
  expect(() => run('sh', ['-c', 'kill -TERM $$'])).toThrow('was ended by SIGTERM');
  expect(() => run('no-such-program', [])).toThrow(/^no-such-program could not be started: .*ENOENT/);
  expect(() => run('true', [])).not.toThrow();
});

test('a script that throws prints one line, and exits with 1', async () => {
  const complaint = jest.spyOn(console, 'error').mockImplementation();
  const before = process.exitCode;
  try {
    await runMain(() => {
      throw new Error('features.txt is missing');
    });

    expect(complaint.mock.calls).toEqual([['features.txt is missing']]);
    expect(process.exitCode).toBe(1);
  } finally {
    process.exitCode = before;
  }
});
