export * from './tailscale-lambda-extension';
export * from './tailscale-lambda-proxy';
export * from './tailscale-node-options';
