//! The settings of what listens for the function's processes.

use std::net::SocketAddr;

use crate::{doors::forwards::config::Forward, policy::Uncovered};

/// The settings of everything that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorsConfig {
    /// SOCKS5 and the HTTP proxy: there unless the handler uses tailscaled's own server.
    pub server: Option<ServerConfig>,
    /// Local ports that lead to one target each.
    pub forwards: Vec<Forward>,
    /// Where connections go.
    pub outbound: OutboundConfig,
}

/// The settings of the server for SOCKS5 and HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// The settings of all connections into the tailnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboundConfig {
    /// Where tailscaled's own SOCKS5 server listens.
    pub daemon: SocketAddr,
    /// Whether targets that the tailnet does not cover may be dialled through the function's own network.
    pub uncovered: Uncovered,
}
