'use strict';
// Builds tailscaled, unmodified but without the features that a Lambda function has no use for, into
// tailscaled/dist/<architecture>/; for this machine's architecture also the servers that the tests run.
// `node scripts/build-tailscaled.js [x86_64|arm64|all]`, by default this machine's architecture

const fs = require('fs');
const path = require('path');
const { ARCHITECTURES, chosenArchitectures, hostArchitecture } = require('./architecture');
const { run, runMain } = require('./run');

const MODULE = path.join(__dirname, '..', 'tailscaled');

/** The daemon, as its own source names it. */
const TAILSCALED = 'tailscale.com/cmd/tailscaled';

/** What a machine needs that routes for others, and a function never does. */
const ROUTING = ['ts_omit_advertiseexitnode', 'ts_omit_advertiseroutes'];

/** What only tests and the demo run. */
const TEST_SERVERS = [
  { output: 'control-server', source: './control' },
  { output: 'mysql', source: './mysql' },
  { output: 'redis', source: './redis' },
  { output: 'go-httpbin', source: 'github.com/mccutchen/go-httpbin/v2/cmd/go-httpbin' },
];

/**
 * The build tags that leave out what the feature list names.
 * @param {string} text of features.txt: words, and comments from # to the end of the line
 */
function omitTags(text) {
  return text.replace(/#.*/g, '').split(/\s+/).filter(Boolean).map((word) => `ts_omit_${word}`);
}

/**
 * The environment in which Go builds for an architecture.
 * @param {string} architecture
 */
function goEnvironment(architecture) {
  return { ...process.env, CGO_ENABLED: '0', GOOS: 'linux', GOARCH: ARCHITECTURES[architecture].go };
}

/**
 * Builds one command, of this module or of another one. Go decides what is stale.
 * @param {{ architecture: string, output: string, source: string, tags: string[], module?: string }} options
 */
function goBuild({ architecture, output, source, tags, module = MODULE }) {
  const file = path.join(MODULE, 'dist', architecture, output);
  const first = fs.existsSync(file) ? '' : ' (the first time takes some minutes)';
  console.log(`building ${output} for ${architecture}${first}`);
  run(
    'go',
    ['build', '-p', '2', '-trimpath', '-buildvcs=false', '-ldflags', '-s -w', '-tags', tags.join(','), '-o', file, source],
    { cwd: module, env: goEnvironment(architecture) },
  );
}

function main() {
  const tags = omitTags(fs.readFileSync(path.join(MODULE, 'features.txt'), 'utf8'));
  for (const architecture of chosenArchitectures(process.argv[2])) {
    goBuild({ architecture, output: 'tailscaled', source: TAILSCALED, tags });
    if (architecture === hostArchitecture()) {
      goBuild({ architecture, output: 'router', source: TAILSCALED, tags: tags.filter((tag) => !ROUTING.includes(tag)) });
      TEST_SERVERS.forEach((server) => goBuild({ architecture, ...server, tags: [] }));
    }
  }
}

if (require.main === module) {
  void runMain(main);
}

module.exports = { MODULE, TAILSCALED, goBuild, goEnvironment, omitTags };
