'use strict';
// Rehearses a release: runs the shell steps of the release workflow in clean folders, publishes to an npm and a PyPI on this
// machine, and follows the README with what was published, in TypeScript and Python, with the lowest and the newest CDK.
// `node scripts/rehearse-release.js [--folder FOLDER]`: what is committed is released. With a folder, everything stays there,
// and a further run goes on with what its first one built.

const { spawnSync } = require('child_process');
const { createHash } = require('crypto');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { make, shown } = require('./rehearsal/applications');
const { startRegistries } = require('./rehearsal/registries');
const { Rehearsal } = require('./rehearsal/workflow');
const { neutralEnvironment, run, runMain } = require('./run');

const ROOT = path.join(__dirname, '..');
/** What "npx projen release:rehearse" installs there. */
const TOOLS = path.join(ROOT, '.rehearsal');
const WORKFLOW = path.join(ROOT, '.github', 'workflows', 'release.yml');
/** No release so far: whatever the version, it is the first one in a registry of its own. */
const TAG = 'v1.0.0';

/** What the machine has already, or the rehearsal does without. */
const LEFT_OUT = {
  let_users_make_namespaces: 'a setting of GitHub\'s machines, for the tests',
  set_up_rust: 'this machine\'s own',
};

/**
 * The environment of every step: a home of its own, so that nobody's settings are read or written, with the machine's
 * caches and toolchains.
 * @param {string} folder
 */
function stepEnvironment(folder) {
  const home = os.homedir();
  const own = path.join(folder, 'home');
  fs.mkdirSync(own, { recursive: true });
  const npmrc = path.join(home, '.npmrc');
  return {
    CARGO_HOME: path.join(home, '.cargo'),
    RUSTUP_HOME: path.join(home, '.rustup'),
    GOPATH: path.join(home, 'go'),
    GOCACHE: path.join(home, '.cache', 'go-build'),
    PYENV_ROOT: path.join(home, '.pyenv'),
    PIP_CACHE_DIR: path.join(home, '.cache', 'pip'),
    npm_config_cache: path.join(home, '.npm'),
    ...fs.existsSync(npmrc) && { npm_config_userconfig: npmrc },
    ...neutralEnvironment(),
    // As on GitHub's machines, whatever this one's npm is told.
    CI: 'true',
    npm_config_yes: 'true',
    HOME: own,
    PATH: `${bin(folder)}:${process.env.PATH}`,
    JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION: '20',
    CDK_DISABLE_CLI_TELEMETRY: 'true',
    CDK_NOTICES: 'false',
  };
}

/** @param {string} folder */
const bin = (folder) => path.join(folder, 'bin');

/**
 * A repository with a commit that is tagged: what is committed here, without the tests, which have their own lane.
 * @param {string} folder
 * @param {NodeJS.ProcessEnv} environment
 */
function makeRepository(folder, environment) {
  const repository = path.join(folder, 'repository');
  fs.rmSync(repository, { recursive: true, force: true });
  const git = (/** @type {string[]} */ ...args) => run('git', args, { cwd: repository });
  run('git', ['clone', '--quiet', '--no-tags', ROOT, repository]);
  const config = path.join(repository, '.projenrc.ts');
  const text = fs.readFileSync(config, 'utf8');
  if (!text.includes('\nproject.synth();')) {
    throw new Error('.projenrc.ts ends otherwise than with "project.synth();": find how to take the tests out of the build');
  }
  fs.writeFileSync(config, text.replace('\nproject.synth();', '\nproject.testTask.reset();\nproject.synth();'));
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: repository, env: environment });
  run('npx', ['projen'], { cwd: repository, env: { ...environment, CI: 'true' } });
  git('-c', 'user.name=rehearsal', '-c', 'user.email=none', 'commit', '--quiet', '--all', '--message', 'chore: leave the tests out of the rehearsal');
  git('tag', TAG);
  const commit = spawnSync('git', ['rev-parse', 'HEAD'], { cwd: repository, encoding: 'utf8' }).stdout.trim();
  return { repository, commit };
}

/**
 * The programs that stand for services: GitHub's command line, which puts what is uploaded into a folder, and a curl
 * that finds PyPI's exchange of tokens on this machine.
 * @param {string} folder
 * @param {string} mint
 */
function makePrograms(folder, mint) {
  fs.mkdirSync(bin(folder), { recursive: true });
  const curl = spawnSync('bash', ['-c', 'command -v curl'], { encoding: 'utf8' }).stdout.trim();
  const programs = {
    gh: [
      'case "$1 $2" in',
      `"release view") test -d "${releaseFolder(folder)}" ;;`,
      `"release create") mkdir -p "${releaseFolder(folder)}" && printf '%s\\n' "$@" > "${releaseFolder(folder)}.created" ;;`,
      `"release upload") for file in "$@"; do if [ -f "$file" ]; then cp "$file" "${releaseFolder(folder)}"; fi; done ;;`,
      '*) echo "no rehearsal knows: gh $*" >&2; exit 1 ;;',
      'esac',
    ],
    curl: [
      'args=()',
      `for arg in "$@"; do if [ "$arg" = https://pypi.org/_/oidc/mint-token ]; then arg=${mint}; fi; args+=("$arg"); done`,
      `exec ${curl} "\${args[@]}"`,
    ],
  };
  for (const [name, lines] of Object.entries(programs)) {
    fs.writeFileSync(path.join(bin(folder), name), `#!/bin/bash\n${lines.join('\n')}\n`, { mode: 0o755 });
  }
}

/** @param {string} folder */
const releaseFolder = (folder) => path.join(folder, 'github-release');

/** @param {string} what @param {() => Promise<void>} work */
async function timed(what, work) {
  const began = Date.now();
  await work();
  console.log(`- ${what} (${Math.round((Date.now() - began) / 1000)} s)`);
}

/**
 * The GitHub release: its checksums are right, and the zips in the packages are the ones beside it.
 * @param {string} folder
 * @param {string} packed a package that was installed
 */
function checkRelease(folder, packed) {
  const release = releaseFolder(folder);
  run('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: release });
  const zips = ['x86_64', 'arm64'].flatMap((architecture) => fs.readdirSync(path.join(packed, 'assets', architecture)).map((zip) => {
    const content = fs.readFileSync(path.join(packed, 'assets', architecture, zip));
    return `${createHash('sha256').update(content).digest('hex')}  ${zip.replace('.zip', `-${architecture}.zip`)}\n`;
  }));
  const others = ['sbom.cdx.json', 'THIRD-PARTY-LICENSES.txt', 'template.yaml', 'main.tf', 'tailscale-lambda-caller-linux-x86_64', 'tailscale-lambda-caller-linux-arm64'];
  const sums = fs.readFileSync(path.join(release, 'SHA256SUMS'), 'utf8');
  const sbom = fs.readFileSync(path.join(release, 'sbom.cdx.json'), 'utf8');
  const missing = [
    ...[...zips, ...others.map((name) => `  ${name}\n`)].filter((line) => !sums.includes(line)),
    ...['"pkg:golang/tailscale.com@', '"pkg:cargo/tokio@'].filter((purl) => !sbom.includes(purl)),
  ];
  if (missing.length > 0) {
    throw new Error(`the GitHub release lacks ${missing.join(', ')}`);
  }
}

/**
 * @param {string} folder
 */
async function rehearse(folder) {
  const manifest = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  const { parse } = require('module').createRequire(path.join(TOOLS, 'package.json'))('yaml');
  fs.mkdirSync(folder, { recursive: true });
  ['registries', 'applications', 'github-release'].forEach((name) => fs.rmSync(path.join(folder, name), { recursive: true, force: true }));
  const registries = await startRegistries(TOOLS, path.join(folder, 'registries'), manifest.name);
  try {
    makePrograms(folder, registries.mint);
    const environment = stepEnvironment(folder);
    const state = path.join(folder, 'built.json');
    const built = fs.existsSync(state) ? JSON.parse(fs.readFileSync(state, 'utf8')) : undefined;
    const { repository, commit } = built ?? makeRepository(folder, environment);
    const rehearsal = new Rehearsal(parse(fs.readFileSync(WORKFLOW, 'utf8')).jobs, {
      folder,
      repository,
      tag: TAG,
      commit,
      environment,
      leftOut: LEFT_OUT,
      overrides: {
        // What proves where a package comes from is signed by a service of sigstore's, which knows GitHub's own identities only.
        release_npm: { ...registries.identity, NPM_REGISTRY: registries.npm, DISABLE_HTTPS: 'true', NPM_CONFIG_PROVENANCE: 'false' },
        release_pypi: {
          ...registries.identity,
          TWINE_REPOSITORY_URL: `http://${registries.pypi}/`,
          PYPI_DISABLE_ATTESTATIONS: 'true',
          PYTHONUSERBASE: path.join(folder, 'home', '.local'),
        },
      },
    });
    if (built) {
      console.log(`- release: built before, ${path.join(folder, 'artifacts')}`);
      rehearsal.done.release = built.done;
    } else {
      await timed('the job release: built and packed', () => rehearsal.job('release'));
      fs.writeFileSync(state, JSON.stringify({ repository, commit, done: rehearsal.done.release }));
    }
    for (const job of ['release_npm', 'release_pypi', 'release_github']) {
      await timed(`the job ${job}`, () => rehearsal.job(job));
    }

    const tags = await (await fetch(`http://${registries.npm}/-/package/${manifest.name}/dist-tags`)).json();
    if (JSON.stringify(tags) !== JSON.stringify({ latest: TAG.slice(1) })) {
      throw new Error(`npm has the tags ${JSON.stringify(tags)}`);
    }
    const readme = shown(fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8'));
    const lowest = ['aws-cdk-lib', 'constructs'].map((name) => `${name}@${manifest.devDependencies[name]}`);
    const place = { name: manifest.name, npm: registries.npm, pypi: registries.pypi, environment };
    /** @type {string[]} */
    const problems = [];
    for (const [cdk, versions] of /** @type {[string, string[]][]} */ ([['lowest', lowest], ['newest', []]])) {
      for (const language of /** @type {const} */ (['typescript', 'python'])) {
        const name = `README's stack in ${language} with the ${cdk} CDK`;
        const application = path.join(folder, 'applications', `${language}-${cdk}`);
        await timed(`${name}: synthesized`, async () => {
          const found = await make(language, { ...place, folder: application, cdk: versions }, readme).catch((error) => [error.message]);
          problems.push(...found.map((/** @type {string} */ problem) => `${name}: ${problem}`));
        });
      }
    }
    if (problems.length > 0) {
      throw new Error(problems.join('\n'));
    }
    checkRelease(folder, path.join(folder, 'applications', 'typescript-lowest', 'node_modules', manifest.name));
  } finally {
    registries.stop();
  }
}

async function main() {
  const flag = process.argv.indexOf('--folder');
  const kept = flag < 0 ? undefined : process.argv[flag + 1];
  const folder = kept ? path.resolve(kept) : fs.mkdtempSync(path.join(os.tmpdir(), 'release-rehearsal-'));
  const began = Date.now();
  try {
    await rehearse(folder);
  } catch (error) {
    console.error(`what was made is in ${folder}`);
    throw error;
  }
  console.log(`✓ rehearsed in ${Math.round((Date.now() - began) / 1000)} s`);
  if (!kept) {
    fs.rmSync(folder, { recursive: true });
  }
}

void runMain(main);
