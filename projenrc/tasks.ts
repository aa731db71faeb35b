import { awscdk, Project, Task } from 'projen';
import { RELEASE_FILES } from './release';

/** The project's own Python environment in .venv/: tools that build, and servers and checkers for the tests. */
export function pythonEnvironment(project: Project): { builds: Task; all: Task } {
  project.gitignore.exclude('/.venv/');
  return {
    builds: project.addTask('python:build-tools', {
      description: 'Make .venv, with the packages that builds ask for',
      exec: 'node scripts/make-venv.js build',
    }),
    all: project.addTask('python:venv', {
      description: 'Make .venv, with the packages that builds and tests ask for',
      exec: 'node scripts/make-venv.js',
    }),
  };
}

/** Builds with clippy's lints: rust/.cargo/linted.toml says why. */
const LINTED = 'cargo --config .cargo/linted.toml';

/** A task of one cargo command. Its target folder is pinned, because other tasks look for the binaries in it. */
function cargo(project: Project, name: string, description: string, command: string): Task {
  return project.addTask(name, { description, cwd: 'rust', env: { CARGO_TARGET_DIR: 'target' }, exec: command, receiveArgs: true });
}

/** The cargo workspace in rust/: what ships (release profile), and what only tests and the demo run (dev profile). */
export function rustWorkspace(project: Project, python: Task) {
  project.gitignore.exclude('/rust/target/');
  const buildShipped = project.addTask('rust:build:shipped', {
    description: 'Build the binaries that ship; takes `x86_64`, `arm64` or `all`, by default this machine\'s architecture',
    exec: 'node scripts/build-rust.js',
    receiveArgs: true,
  });
  const buildDevelopment = cargo(project, 'rust:build:development', 'Build every binary for this machine, as the tests use them',
    `${LINTED} build --locked --workspace --bins`);
  // Half as many crates, and without clippy, which only tests need.
  const buildDemo = cargo(project, 'rust:build:demo', 'Build the demo and local-lambda', 'cargo build --locked -p local-lambda -p testbed --bins');
  const build = project.addTask('rust:build', { description: 'Build every Rust binary' });
  [python, buildShipped, buildDevelopment].forEach((task) => build.spawn(task));
  const fmt = cargo(project, 'rust:fmt', 'Check the format of the Rust sources', 'cargo fmt --all --check');
  // The suites by name are those that `cargo test` does not run by itself.
  const lint = cargo(project, 'rust:lint', 'Build all Rust code for this machine, with clippy\'s lints',
    `${LINTED} test --locked --workspace --no-run && ` +
    `${LINTED} test --locked --workspace --no-run --test bench --test distance --test emulated --test headscale --test soak`);
  const test = project.addTask('rust:test', {
    description: 'Run the Rust tests that need no tailnet',
    exec: 'node scripts/rust-tests.js crates',
  });
  return { buildDevelopment, buildDemo, fmt, lint, test };
}

/** The Go module in tailscaled/: the unmodified daemon with a reduced feature list, and the tests' own servers. */
export function tailscaledModule(project: Project) {
  project.gitignore.exclude('/tailscaled/dist/');
  const build = project.addTask('tailscaled:build', {
    description: 'Build tailscaled, and the servers that tests need',
    exec: 'node scripts/build-tailscaled.js',
    receiveArgs: true,
  });
  // From a Go module of its own: it wants other versions of what both need.
  const buildHeadscale = project.addTask('headscale:build', {
    description: 'Build Headscale, for the tests that run it',
    exec: 'node scripts/build-headscale.js',
  });
  const vet = project.addTask('go:vet', {
    description: 'Run go vet on the servers that tests run',
    cwd: 'tailscaled',
    // As the builds have it: what they compiled is not compiled anew. The bench's programs are vetted where they are built.
    env: { CGO_ENABLED: '0' },
    exec: 'go vet -trimpath ./control ./mysql ./redis',
  });
  return { build, buildHeadscale, vet };
}

/** The zips that ship: assets/<architecture>/{proxy,extension,caller}.zip. */
export function layerZips(project: Project, python: Task, tailscaled: Task) {
  const build = project.addTask('layers:build', { description: 'Build the zips for this machine\'s architecture' });
  build.spawn(python);
  build.spawn(tailscaled);
  build.exec('node scripts/build-layers.js');

  const buildAll = project.addTask('layers:build:all', { description: 'Build the zips for all architectures, as they are packed' });
  buildAll.spawn(python);
  buildAll.spawn(tailscaled, { args: ['all'] });
  buildAll.exec('node scripts/build-layers.js all');
  buildAll.exec('node scripts/collect-licences.js');
  return { build, buildAll };
}

/** What the tasks on a real tailnet build first. */
export interface Builds {
  /** Names missing tools before anything is built. */
  readonly preflight: Task;
  /** The Python environment without, and with, what plays AWS services. */
  readonly python: { builds: Task; all: Task };
  /** The zips, and the servers around them. */
  readonly layers: Task;
  /** local-lambda and the demo itself. */
  readonly demo: Task;
  /** Every binary. */
  readonly development: Task;
  /** Fetches the published constructs, whose handler the bench can run too. */
  readonly published: Task;
  /** Headscale. */
  readonly headscale: Task;
}

/** The product on a tailnet of its own: to look at (`npm run demo`), as a test (`npm run e2e`), and measured. */
export function onTailnet(project: Project, builds: Builds) {
  const build = project.addTask('demo:build', { description: 'Build what the demo runs' });
  build.spawn(builds.preflight);
  build.say('Building what is missing or stale. The first time takes 4 to 10 minutes, the next a few seconds.');
  const [layers, pythonBuilds, python, own] = [builds.layers, builds.python.builds, builds.python.all, builds.demo].map(({ name }) => name);
  // What ships takes the longest. It is linked in the end, and leaves a processor to the rest.
  build.exec(`node scripts/lanes.js --live "${pythonBuilds} ${layers}" "beneath ${own}" "beneath after:${pythonBuilds} ${python}"`);

  const demo = project.addTask('demo', { description: 'Send signed requests across a real tailnet on this machine' });
  demo.spawn(build);
  demo.exec('rust/target/debug/demo', { receiveArgs: true });

  const e2eBuilt = project.addTask('e2e', {
    description: 'Run the end-to-end tests on a real tailnet: all, or `npm run e2e -- SUITE [FILTER]`',
  });
  e2eBuilt.spawn(build);
  e2eBuilt.spawn(builds.development);
  e2eBuilt.exec('node scripts/rust-tests.js e2e', { receiveArgs: true });
  const e2e = project.addTask('e2e:run', {
    description: 'Run the end-to-end tests on what is built',
    exec: 'node scripts/rust-tests.js e2e',
    receiveArgs: true,
  });

  // The e2e tests freeze for seconds; this is the same at length, and what else takes minutes.
  const soak = project.addTask('soak', {
    description: 'Freeze the function for 2 to 400 s with its flows dead, and test what else takes minutes: an hour in all',
  });
  soak.spawn(build);
  soak.spawn(cargo(project, 'soak:run', 'Run the long tests on what is built (SOAK_FREEZES, SOAK_SEED)',
    `${LINTED} test --locked -p testbed --test soak`));

  /** Runs a suite that measures, and writes what it measured to dist/. */
  const measure = (task: Task, suite: string, variable: string) => task.exec(`${LINTED} test --locked -p testbed --test ${suite} --`, {
    cwd: 'rust',
    env: { CARGO_TARGET_DIR: 'target', [variable]: `../../dist/${suite}.json` },
    receiveArgs: true,
  });
  const distance = project.addTask('distance', {
    description: 'Measure the function far from its tailnet, beside a bare tailscaled, and write dist/distance.json',
  });
  distance.spawn(build);
  distance.exec('mkdir -p dist');
  measure(distance, 'distance', 'DISTANCE_JSON');

  const buildBench = project.addTask('bench:build', {
    description: 'Build what the bench compares with: a handler in Go, and with BENCH_PUBLISHED=1 the published one',
  });
  buildBench.spawn(builds.published, { condition: 'test "$BENCH_PUBLISHED" = 1' });
  buildBench.exec('node scripts/build-bench.js');
  const bench = project.addTask('bench', {
    description: 'Measure what requests cost, beside the direct path and other handlers, and write dist/bench.json',
  });
  bench.spawn(build);
  bench.spawn(buildBench);
  measure(bench, 'bench', 'BENCH_JSON');
  bench.exec('node scripts/bench-report.js');

  // Not among the others: Headscale takes minutes to build, and the test of a removed machine minutes to run.
  const headscale = project.addTask('headscale', { description: 'Run the tests in a tailnet of Headscale\'s' });
  headscale.spawn(build);
  headscale.spawn(builds.headscale);
  headscale.spawn(cargo(project, 'headscale:run', 'Run the tests in a tailnet of Headscale\'s on what is built',
    `${LINTED} test --locked -p testbed --test headscale`));
  return { e2e, e2eBuilt, soak, headscale };
}

/** The zips for the other architecture than this machine's, run on it under qemu; built by `builds`. */
export function otherArchitecture(project: Project, builds: Task[]): Task {
  project.gitignore.exclude('/.emulator/');
  const fetch = project.addTask('emulator:fetch', {
    description: 'Put qemu for the other architecture into .emulator',
    exec: 'node scripts/fetch-emulator.js',
  });
  const test = project.addTask('other-architecture:run', { description: 'Run that test on what is built' });
  test.spawn(fetch);
  test.exec('node scripts/rust-tests.js e2e emulated', { receiveArgs: true });
  const all = project.addTask('other-architecture', {
    description: 'Have the other architecture\'s zips answer requests on a real tailnet, under qemu',
  });
  [...builds, test].forEach((task) => all.spawn(task));
  return test;
}

/** What npm and PyPI are given, at most, in bytes. */
const TARBALL_BUDGET = 30_000_000;

/** The packages for npm and PyPI: checked before and after they are packed, and installed as users do by the tests. */
export function packages(project: awscdk.AwsCdkConstructLibrary, python: Task, layers: Task): Task {
  const packJs = project.tasks.tryFind('package:js');
  const packAll = project.tasks.tryFind('package-all');
  const packPython = project.tasks.tryFind('package:python');
  if (!packJs || !packPython || !packAll) {
    throw new Error('projen has no tasks "package:js", "package:python" and "package-all" any more: find what packs, and check around it');
  }
  packJs.prependExec('node scripts/check-assets.js');
  packJs.exec(`find dist/js -name '*.tgz' -size +${TARBALL_BUDGET}c | (! grep .) || ` +
    `(echo "The tarball is not fit to be published: it may have ${TARBALL_BUDGET} bytes" && exit 1)`);
  packPython.exec('python3 scripts/python_types.py dist/python');

  const test = project.addTask('packages:run', { description: 'Pack what is built and compiled, and test that' });
  test.exec('rm -rf dist/js dist/python');
  test.spawn(packAll);
  test.spawn(project.addTask('packages:test', {
    description: 'Run the tests on what is packed',
    exec: 'jest --ci --config test/packages/jest.json',
    receiveArgs: true,
  }));
  const all = project.addTask('packages', { description: 'Pack for npm and PyPI, and test what was packed in applications of its own' });
  all.spawn(python);
  all.spawn(layers);
  all.spawn(project.compileTask);
  all.spawn(test);
  return test;
}

/** Types are checked elsewhere, so that the apps start in seconds. */
const INTEG_RUNNER = 'integ-runner --directory test/integ --test-regex "^integ\\..*\\.ts$" ' +
  '--app "ts-node --transpile-only --project test/tsconfig.json {filePath}"';

/** The tests that ask AWS itself. Returns what compares the stacks with their snapshots, but for the hashes of assets. */
export function integration(project: awscdk.AwsCdkConstructLibrary): Task {
  // Of the assertions' versions, one for the lowest CDK that the package is for, or an earlier one.
  project.addDevDeps('@aws-cdk/integ-runner', '@aws-cdk/integ-tests-alpha@2.214.0-alpha.0');
  // The zips, and what else is built.
  project.gitignore.exclude('/test/integ/*.snapshot/asset.*', '/test/integ/cdk-integ.out.*');

  const snapshot = project.addTask('integ:snapshot', {
    description: 'Compare the stacks of the tests on AWS with their snapshots, without AWS',
    receiveArgs: true,
    exec: INTEG_RUNNER,
  });
  // Forced, because neither other zips nor other assertions are a difference to the snapshot.
  project.addTask('integ', {
    description: 'Run the tests on AWS, and renew the snapshots; with --dry-run it does only that, without AWS',
    receiveArgs: true,
    exec: `${INTEG_RUNNER} --update-on-failed --force`,
  });
  return snapshot;
}

/** CycloneDX's own library: it knows the format of each version, and validates what it wrote. */
const CYCLONEDX = ['@cyclonedx/cyclonedx-library@10.3.0', 'packageurl-js@2', 'ajv@8', 'ajv-formats@3', 'ajv-formats-draft2019@1'];

/** What a GitHub release carries: the zips, what is in them (CycloneDX), their licenses, and checksums of all of it. */
export function releaseFiles(project: Project): void {
  project.addTask('release:files', {
    description: `Put the zips, their SBOM and checksums into ${RELEASE_FILES}`,
    steps: [
      // Not among the dependencies: only releases need it.
      { exec: `npm install --prefix .sbom --no-audit --no-fund --no-package-lock --legacy-peer-deps ${CYCLONEDX.join(' ')}` },
      { exec: `node scripts/release-files.js ${RELEASE_FILES}` },
    ],
  });
}

const REHEARSAL = '.rehearsal';

/** Where npm lacks the tag "cjs" of node-fetch, which a package of verdaccio's names, its version does. */
const REHEARSAL_MANIFEST = JSON.stringify({ private: true, overrides: { 'node-fetch': '2.6.7' } });

/** A release, as the workflow makes it, to registries on this machine. */
export function releaseRehearsal(project: Project): Task {
  return project.addTask('release:rehearse', {
    description: 'Run the release workflow\'s steps against registries on this machine, and follow the README with what they published',
    steps: [
      { exec: `mkdir -p ${REHEARSAL} && echo '${REHEARSAL_MANIFEST}' > ${REHEARSAL}/package.json` },
      { exec: 'npm install --no-audit --no-fund --no-package-lock verdaccio@6.8.0 yaml@2.9.1', cwd: REHEARSAL },
      { exec: `python3 -m venv ${REHEARSAL}/venv && ${REHEARSAL}/venv/bin/python -m pip install --quiet pypiserver[passlib]==2.4.2` },
      { exec: 'node scripts/rehearse-release.js', receiveArgs: true },
    ],
  });
}
