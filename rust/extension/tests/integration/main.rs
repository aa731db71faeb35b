//! The extension's parts against fakes of what they talk to: Tailscale's API, tailscaled, the Extensions API.
#![allow(clippy::unwrap_used)]

mod ending;
mod exit_node;
mod extensions_api;
mod fake_daemon;
mod fake_http;
mod front;
mod lifecycle;
mod oauth;
mod removal;
mod sessions;
mod stage;
mod start;
mod supervision;
