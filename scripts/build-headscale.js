'use strict';
// Builds Headscale for this machine, into tailscaled/dist/<architecture>/. `npm run headscale` alone needs it.
// `node scripts/build-headscale.js`

const path = require('path');
const { hostArchitecture } = require('./architecture');
const { MODULE, goBuild } = require('./build-tailscaled');
const { runMain } = require('./run');

void runMain(() => goBuild({
  architecture: hostArchitecture(),
  output: 'headscale',
  source: 'github.com/juanfont/headscale/cmd/headscale',
  tags: [],
  module: path.join(MODULE, 'headscale'),
}));
