import { executables, plan } from '../../scripts/rust-tests';

const message = (crate: string, kind: string, name: string, test = true) => JSON.stringify({
  reason: 'compiler-artifact',
  manifest_path: `/rust/${crate}/Cargo.toml`,
  target: { name, kind: [kind] },
  profile: { test },
  executable: `/target/${name}`,
});

const suite = (name: string) => ({ name, crate: 'testbed', folder: '/rust/testbed', executable: `/target/${name}` });

test('the executables of tests are read from cargo\'s messages', () => {
  const messages = [
    message('testbed', 'test', 'thaw'),
    message('proxy', 'lib', 'proxy'),
    message('proxy', 'bin', 'bootstrap', false),
    JSON.stringify({ reason: 'build-finished', success: true }),
    'not JSON',
  ].join('\n');
  expect(executables(messages)).toEqual([
    suite('thaw'),
    { name: 'proxy: unit tests of lib proxy', crate: 'proxy', folder: '/rust/proxy', executable: '/target/proxy' },
  ]);
});

test('suites and trials that wait run one by one, and those that hold milliseconds alone', () => {
  const trials = ({ name }: { name: string }) => name === 'local_ports' ? ['forward: one', 'other'] : ['one', 'two'];
  const { common, waiting, alone } = plan(['local_ports', 'metrics', 'start', 'thaw', 'transparency'].map(suite), trials);
  const commands = (jobs: { command: string[] }[]) => jobs.map(({ command }) => command.join(' '));
  expect(commands(common)).toEqual([
    'nice -n 5 /target/transparency --skip freeze: ', 'nice -n 5 /target/local_ports --skip forward: ', 'nice -n 5 /target/metrics --skip metrics: 1,000',
  ]);
  expect(commands(waiting)).toEqual(['/target/thaw --exact one', '/target/thaw --exact two', '/target/local_ports --exact forward: one']);
  expect(commands(alone)).toEqual(['/target/start', '/target/transparency freeze: ', '/target/metrics metrics: 1,000']);
});
