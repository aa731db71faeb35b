import { awscdk, javascript, release, Task } from 'projen';
import { addNightly, updateDependencies } from './projenrc/nightly';
import { releaseOnTag } from './projenrc/release';
import {
  integration, layerZips, onTailnet, otherArchitecture, packages, pythonEnvironment, releaseFiles, releaseRehearsal, rustWorkspace, tailscaledModule,
} from './projenrc/tasks';
import { pinActions, pinRust, toolchainSteps } from './projenrc/toolchain';

const NAME = 'tailscale-lambda-proxy';
const REPOSITORY = `https://github.com/${NAME}/${NAME}`;

const project = new awscdk.AwsCdkConstructLibrary({
  name: NAME,
  description: 'AWS CDK construct: a Lambda Function URL that forwards HTTP requests into a Tailscale network',
  keywords: ['aws', 'aws-cdk', 'cdk', 'lambda', 'tailscale', 'proxy'],
  author: 'Tailscale Lambda Proxy contributors',
  authorAddress: REPOSITORY,
  authorOrganization: true,
  copyrightOwner: 'Tailscale Lambda Proxy contributors',
  repositoryUrl: `${REPOSITORY}.git`,
  license: 'MIT',
  stability: 'experimental',
  defaultReleaseBranch: 'main',

  // grantInvokeUrl grants both permissions that a Function URL asks for from this version of the CDK on.
  cdkVersion: '2.220.0',
  constructsVersion: '10.4.2',
  jsiiVersion: '~6.0.0',
  typescriptVersion: '~6.0.0',
  minNodeVersion: '20.16.0',
  // Publishing without a token takes npm 11.5.1, which Node 24 brings. The nightly workflow tests with the lowest Node.
  workflowNodeVersion: '24',
  packageManager: javascript.NodePackageManager.NPM,
  // bin/ holds build output: what it offers is named below.
  autoDetectBin: false,
  projenrcTs: true,
  devDeps: [
    // A later version wants a later constructs library than the lowest one that this package is for.
    'cdk-nag@2.37.55',
    // Zips: one library writes what ships, another one checks it.
    '@types/yauzl', 'fflate', 'yauzl',
    // What the functions in examples/typescript are made of, and bundled with: the tests run them.
    '@aws-crypto/sha256-js', '@aws-sdk/credential-provider-env', '@aws-sdk/credential-provider-node', '@smithy/protocol-http', '@smithy/signature-v4', 'esbuild', 'socks-proxy-agent',
    // What functions use with the extension: an HTTP client, the AWS SDK past its proxy, database drivers by its local ports.
    '@aws-sdk/client-sts', 'axios', 'mysql2', 'pg', 'redis',
  ],

  publishToPypi: { distName: NAME, module: 'tailscale_lambda_proxy', trustedPublishing: true },
  npmTrustedPublishing: true,
  // Who may publish is set there: reviewers, and which tags.
  releaseEnvironment: 'release',
  // What publishes is not whatever is newest on that day.
  jsiiReleaseVersion: '0.2.1061',
  releaseTrigger: release.ReleaseTrigger.tagged({ tags: ['v*'] }),
  // Version 13 wants Node 22.
  bumpPackage: 'commit-and-tag-version@^12',

  // A snapshot changes only when someone asks for it (`npm run test:update`), never by running the tests.
  jestOptions: {
    updateSnapshot: javascript.UpdateSnapshot.NEVER,
    jestConfig: {
      // Beneath the end-to-end tests, they get the processor's time that these leave.
      testTimeout: 30_000,
      collectCoverage: false,
      testPathIgnorePatterns: ['/node_modules/', '/test/packages/'],
      globalSetup: '<rootDir>/test/setup.ts',
      globalTeardown: '<rootDir>/test/teardown.ts',
      // So that the examples can name the package as its users do.
      moduleNameMapper: { '^tailscale-lambda-proxy$': '<rootDir>/src' },
    },
  },
  sampleCode: false,
  // The build scripts are JavaScript, so that they run before anything is installed; their types are checked all the same.
  tsconfigDev: {
    compilerOptions: { allowJs: true, checkJs: true, paths: { [NAME]: ['../src'] } },
    include: ['../scripts/**/*.js'],
  },
  eslintOptions: { dirs: ['src'], devdirs: ['test', 'projenrc', 'examples', 'cli'], commandOptions: { fix: false } },
  lambdaAutoDiscover: false,
  edgeLambdaAutoDiscover: false,
  singletonLambdaAutoDiscover: false,
  lambdaExtensionAutoDiscover: false,
  integrationTestAutoDiscover: false,

  depsUpgrade: false,
  pullRequestTemplate: false,
  githubOptions: { mergify: false, pullRequestLint: false },
  // What is built once needs no preparation for the next time.
  buildWorkflowOptions: { mutableBuild: false, preBuildSteps: toolchainSteps(), env: { CARGO_INCREMENTAL: '0' } },
  releaseWorkflowSetupSteps: toolchainSteps(),

  gitignore: ['/assets/', '/bin/', '/.published/', '/.newest-cdk/', '/.sbom/', '/.rehearsal/', '/.jsii.tabl.json'],
});

// The examples name the package as its users do.
project.eslint?.addOverride({ files: ['examples/**'], rules: { 'import/no-unresolved': ['error', { ignore: [`^${NAME}$`] }] } });

// The package holds what a CDK app needs: lib/, .jsii, assets/. Not what the assets are built from.
project.npmignore?.include('/assets/');
[
  '/cli/', '/rust/', '/tailscaled/', '/scripts/', '/projenrc/', '/docs/', '/examples/', '/templates/', '/.ci/',
  '/.emulator/', '/.venv/', '/.published/', '/.newest-cdk/', '/.sbom/', '/.rehearsal/', '/.npmrc', '/.jsii.tabl.json', '/rust-toolchain.toml',
  '/CONTRIBUTING.md', '/SECURITY.md', '/CHANGELOG.md',
].forEach((path) => project.npmignore?.exclude(path));

pinActions(project);
pinRust(project);
releaseOnTag(project);

// 1.13.0 came out without the packages of most platforms, and npm ci refuses a lock file with such holes.
project.package.addPackageResolutions('unrs-resolver@1.12.2');

// The lock file names versions and hashes only, so that it works with whichever registry a machine uses.
new javascript.NpmConfig(project).addConfig('omit-lockfile-registry-resolved', 'true');

// jsii says on each run that Node 20 is past its end of life: what it can run on is for the preflight to say.
project.tasks.addEnvironment('JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION', '20');

const preflight = project.addTask('preflight', {
  description: 'Name every missing tool, and how to get it',
  exec: 'node scripts/preflight.js',
  receiveArgs: true,
});
const python = pythonEnvironment(project);
const rust = rustWorkspace(project, python.builds);
const tailscaled = tailscaledModule(project);
const layers = layerZips(project, python.builds, tailscaled.build);
// The upgrade test and the bench compare with it.
const published = project.addTask('published:fetch', {
  description: 'Fetch the published constructs that deployed stacks were made with',
  exec: 'node scripts/fetch-published.js',
});
const { e2e, e2eBuilt, soak, headscale } = onTailnet(project, {
  preflight, python, layers: layers.build, demo: rust.buildDemo, development: rust.buildDevelopment, published, headscale: tailscaled.buildHeadscale,
});
const emulated = otherArchitecture(project, [python.all, layers.buildAll, rust.buildDevelopment]);
const packed = packages(project, python.all, layers.buildAll);
const snapshot = integration(project);
releaseFiles(project);
const rehearsal = releaseRehearsal(project);

// jest only strips the types away.
const types = project.addTask('types', {
  description: 'Check the types of sources, tests, build scripts and examples',
  exec: ['test', 'projenrc', 'examples', 'cli'].map((folder) => `tsc --noEmit -p ${folder}/tsconfig.json`).join(' && '),
});

project.tasks.tryFind('docgen')?.reset('node scripts/docgen.js');
project.annotateGenerated('/docs/API.python.md');

// The command that the package brings along: one file, so that it needs no packages of its own.
project.package.addBin({ [NAME]: 'bin/tailscale-lambda-proxy.js' });
project.npmignore?.include('/bin/');
const cli = project.addTask('cli:build', { description: 'Bundle the package\'s command', exec: 'node scripts/build-cli.js' });

// The README's code must compile, in both languages, and API.md must be of these sources.
const docs = project.addTask('docs:check', { description: 'Compile the README\'s examples, and compare the API pages with the sources' });
docs.spawn(project.compileTask);
docs.exec('jsii-rosetta extract --strict --compile');
docs.exec('node scripts/docgen.js dist/docgen');
docs.exec('(diff API.md dist/docgen/API.md && diff docs/API.python.md dist/docgen/docs/API.python.md) || ' +
  '(echo "The API pages are not of these sources: run npx projen docgen" && exit 1)');

// The tests run with the lowest CDK that the package is for. This is a look ahead: it asks the registry what is newest.
const newest = { '^(aws-cdk-lib|constructs|cdk-nag)(/.*)?$': '<rootDir>/.newest-cdk/node_modules/$1$2', [`^${NAME}$`]: '<rootDir>/src' };
const newestCdk = project.addTask('test:newest-cdk', { description: 'Run the constructs\' tests with the newest CDK and cdk-nag' });
newestCdk.env('EVERY_TEST', 'true');
[python.all, published].forEach((task) => newestCdk.spawn(task));
newestCdk.exec('npm install --prefix .newest-cdk --no-audit --no-fund --no-package-lock aws-cdk-lib@latest constructs@latest cdk-nag@latest');
newestCdk.exec(`jest --ci --moduleNameMapper '${JSON.stringify(newest)}' --testPathIgnorePatterns /test/scripts/ /test/packages/ /test/examples /node_modules/`);

addNightly(project, newestCdk, e2eBuilt, [soak, headscale, rehearsal]);
updateDependencies(project);

// `npm test` fetches what the tests need, and skips none: `npx jest` by itself says which tests it skips, and what these need.
// Everything is built once. The end-to-end tests mostly wait, and some hold milliseconds: what computes runs beneath them.
const unit = project.testTask.steps;
const testCdk = project.addTask('test:cdk', { description: 'Test the constructs, the build scripts and the pages' });
testCdk.env('EVERY_TEST', 'true');
[python.all, published].forEach((task) => testCdk.spawn(task));
unit.forEach((step) => testCdk.addSteps(step));
[types, docs].forEach((task) => testCdk.spawn(task));
const checkRust = [rust.fmt, tailscaled.vet, rust.lint];
const testRust = project.addTask('test:rust', { description: 'Test the crates, and the Go module, without a tailnet' });
[...checkRust, rust.test].forEach((task) => testRust.spawn(task));

const names = (tasks: Task[]) => tasks.map((task) => task.name).join(' ');
const lanes = [
  `${names([rust.buildDevelopment])} after:${python.all.name} ${names([rust.test])} after:${layers.build.name} ${names([e2e])}`,
  names([python.all, published, layers.build]),
  `beneath after:${layers.build.name} after:${rust.buildDevelopment.name} ${names([testCdk, rust.fmt, tailscaled.vet, snapshot])} ` +
    `after:${layers.buildAll.name} ${names([rust.lint])}`,
  // What is packed is compiled by the tests as well: not by both at once.
  `beneath after:${layers.build.name} after:${rust.buildDevelopment.name} ${names([layers.buildAll])} after:${testCdk.name} ` +
    names([packed, emulated]),
];
project.testTask.reset();
project.testTask.env('EVERY_TEST', 'true');
project.testTask.spawn(preflight, { args: ['--tests'] });
project.testTask.exec(`node scripts/lanes.js ${lanes.map((lane) => `"${lane}"`).join(' ')}`);

// What is packed is built first. What only tests need is not asked for.
project.preCompileTask.spawn(preflight);
project.preCompileTask.spawn(layers.buildAll);
project.preCompileTask.spawn(cli);

project.synth();
