//! tailscaled's LocalAPI over its unix socket: what the `tailscale` command line uses.

pub mod bus;
pub mod client;
pub mod dns;
pub mod error;
pub mod netmap;
pub mod status;
pub mod transport;
