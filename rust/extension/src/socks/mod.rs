//! SOCKS5 server for functions that use the layer without our proxy. Applies the same path checks and routing policy as the
//! proxy, then dials through tailscaled.

pub mod config;
mod connection;
pub mod server;
mod throttled_log;
mod wire;
