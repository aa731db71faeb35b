import { awscdk, Component, Task } from 'projen';
import { Layers } from './layers';
import { RustWorkspace } from './rust';
import { Tailscaled } from './tailscaled';

/** What the demo is made of. */
export interface DemoOptions {
  /** Names missing tools before anything is built. */
  readonly preflight: Task;
  /** Builds local-lambda and the demo itself. */
  readonly rust: RustWorkspace;
  /** Builds the zips that the demo runs, the servers around them, and the Python environment that plays AWS services. */
  readonly layers: Layers;
  /** Fetches the published constructs, whose handler the bench can run too. */
  readonly published: Task;
  /** Builds Headscale. */
  readonly tailscaled: Tailscaled;
}

/** The product on a tailnet of its own: to look at (`npm run demo`), and as a test (`npm run e2e`). */
export class Demo extends Component {
  /** Builds what the demo runs. */
  public readonly build: Task;
  /** Runs the end-to-end tests on what is built. */
  public readonly e2e: Task;
  /** Freezes the function for long, and often. */
  public readonly soak: Task;
  /** Runs the tests in a tailnet of Headscale's. */
  public readonly headscale: Task;

  constructor(project: awscdk.AwsCdkConstructLibrary, options: DemoOptions) {
    super(project);
    this.build = project.addTask('demo:build', { description: 'Build what the demo runs' });
    this.build.spawn(options.preflight);
    this.build.say('Building what is missing or stale. The first time takes 5 to 15 minutes, the next a few seconds.');
    this.build.spawn(options.layers.build);
    this.build.spawn(options.rust.buildDemo);

    const demo = project.addTask('demo', { description: 'Send signed requests across a real tailnet on this machine' });
    demo.spawn(this.build);
    demo.exec('rust/target/debug/demo', { receiveArgs: true });

    const e2e = project.addTask('e2e', {
      description: 'Run the end-to-end tests on a real tailnet: all, or `npm run e2e -- SUITE [FILTER]`',
    });
    e2e.spawn(this.build);
    e2e.spawn(options.rust.buildDevelopment);
    this.e2e = project.addTask('e2e:run', {
      description: 'Run the end-to-end tests on what is built',
      exec: 'node scripts/rust-tests.js e2e',
      receiveArgs: true,
    });
    e2e.exec('node scripts/rust-tests.js e2e', { receiveArgs: true });

    // The e2e tests freeze for seconds; this is the same at length, and what else takes minutes.
    this.soak = project.addTask('soak', {
      description: 'Freeze the function for 2 to 400 s with its flows dead, and test what else takes minutes: an hour in all',
    });
    this.soak.spawn(this.build);
    this.soak.spawn(options.rust.cargo('soak:run', 'Run the long tests on what is built (SOAK_FREEZES, SOAK_SEED)', [
      'test --locked -p testbed --test soak',
    ]));

    const distance = project.addTask('distance', {
      description: 'Measure the function far from its tailnet, beside a bare tailscaled, and write dist/distance.json',
    });
    distance.spawn(this.build);
    distance.exec('mkdir -p dist');
    distance.exec('cargo test --locked -p testbed --test distance --', {
      cwd: 'rust',
      env: { CARGO_TARGET_DIR: 'target', DISTANCE_JSON: '../../dist/distance.json' },
      receiveArgs: true,
    });

    const buildBench = project.addTask('bench:build', {
      description: 'Build what the bench compares with: a handler in Go, and with BENCH_PUBLISHED=1 the published one',
    });
    buildBench.spawn(options.published, { condition: 'test "$BENCH_PUBLISHED" = 1' });
    buildBench.exec('node scripts/build-bench.js');
    const bench = project.addTask('bench', {
      description: 'Measure what requests cost, beside the direct path and other handlers, and write dist/bench.json',
    });
    bench.spawn(this.build);
    bench.spawn(buildBench);
    bench.exec('cargo test --locked -p testbed --test bench --', {
      cwd: 'rust',
      env: { CARGO_TARGET_DIR: 'target', BENCH_JSON: '../../dist/bench.json' },
      receiveArgs: true,
    });
    bench.exec('node scripts/bench-report.js');

    // Not among the others: Headscale takes minutes to build, and the test of a removed machine minutes to run.
    this.headscale = project.addTask('headscale', { description: 'Run the tests in a tailnet of Headscale\'s' });
    this.headscale.spawn(this.build);
    this.headscale.spawn(options.tailscaled.buildHeadscale);
    this.headscale.spawn(options.rust.cargo('headscale:run', 'Run the tests in a tailnet of Headscale\'s on what is built', [
      'test --locked -p testbed --features headscale --test headscale',
    ]));
  }
}
