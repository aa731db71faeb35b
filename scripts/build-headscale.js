'use strict';
// Builds Headscale for this machine, into tailscaled/dist/<architecture>/. `npm run headscale` alone needs it.
// `node scripts/build-headscale.js`

const path = require('path');
const { hostArchitecture } = require('./architecture');
const { MODULE, goEnvironment } = require('./build-tailscaled');
const { run, runMain } = require('./run');

function main() {
  const architecture = hostArchitecture();
  console.log('building headscale (the first time takes some minutes)');
  run(
    'go',
    ['build', '-p', '2', '-trimpath', '-ldflags', '-s -w', '-o', path.join(MODULE, 'dist', architecture, 'headscale'), 'github.com/juanfont/headscale/cmd/headscale'],
    { cwd: path.join(MODULE, 'headscale'), env: goEnvironment(architecture) },
  );
}

if (require.main === module) {
  void runMain(main);
}
