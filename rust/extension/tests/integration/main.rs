//! The extension's parts against fakes of what they talk to: Tailscale's API, tailscaled, the Extensions API.
#![allow(clippy::unwrap_used)]

mod concurrency;
mod doors;
mod ending;
mod exit_node;
mod fake_http;
mod fake_keys;
mod fake_lambda;
mod fake_tailscaled;
mod fuzzed;
mod healthy_paths;
mod interruptions;
mod lambda_api;
mod large_tailnet;
mod lifecycle;
mod login_retries;
mod names;
mod oauth;
mod parameters;
mod properties;
mod random_freezes;
mod removal;
mod repair;
mod silent_peers;
mod stage;
mod start;
mod status_socket;
mod supervision;
mod test_clock;
mod workload_identity;
