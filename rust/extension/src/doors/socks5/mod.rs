//! SOCKS5 (RFC 1928), as far as a server without authentication speaks it.

pub(crate) mod connection;
mod wire;
