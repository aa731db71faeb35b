//! The Lambda extension: joins the tailnet while the environment starts, keeps it, and leaves it at the end.

mod attempts;
pub mod bus;
pub mod config;
pub mod credentials;
pub mod dns;
pub mod exit_node;
pub mod extensions_api;
mod found;
pub mod front;
pub mod guide;
pub mod lifecycle;
pub mod link;
pub mod local_api;
pub mod netmap;
pub mod oauth;
mod owner;
pub mod phase;
mod ping;
#[cfg(test)]
mod readme;
mod round_trip;
pub mod secret;
mod session;
mod sessions;
pub mod socket;
mod spoken;
pub mod status_server;
pub mod tailnet;
pub mod tailscaled;
pub mod trouble;
