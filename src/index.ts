export * from './tailscale-function-options';
export * from './tailscale-lambda-extension';
export * from './tailscale-lambda-proxy';
export * from './tailscale-lambda-proxy-lambda-option';
export * from './tailscale-lambda-proxy-props';
export * from './tailscale-lambda-proxy-warmer-option';
export * from './tailscale-metrics-options';
export * from './tailscale-node-options';
