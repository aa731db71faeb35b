//! The SOCKS5 server's settings.

use std::net::SocketAddr;

use crate::policy::Uncovered;

/// The server's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocksConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where tailscaled's own SOCKS5 server listens.
    pub daemon: SocketAddr,
    /// Whether targets that the tailnet does not cover may be dialled through the function's own network.
    pub uncovered: Uncovered,
}
