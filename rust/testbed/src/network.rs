//! The network inside: loopback, and an interface with an address and a default route that lead nowhere.
//!
//! With loopback alone tailscaled takes itself for offline and never logs in.

use std::{
    io::Write,
    net::Ipv4Addr,
    process::{Command, Stdio},
};

/// This machine's address in the network inside (TEST-NET-1, RFC 5737): control, DERP and AWS are reached by it.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// A veth pair, because the `dummy` kind is not on every kernel. Nobody answers for the gateway.
const SET_UP: &str = "\
link set lo up
link add uplink type veth peer name nowhere
link set nowhere up
link set uplink up
address add 192.0.2.2/24 dev uplink
route add default via 192.0.2.1 dev uplink
";

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// iproute2 is missing.
    #[error("the command `ip` cannot be run: {0}. Install iproute2 (apt install iproute2, dnf install iproute)")]
    NoIp(std::io::Error),
    /// `ip` said no.
    #[error("the network cannot be set up: {0}")]
    Refused(String),
}

/// Sets the network up. The process must be inside namespaces of its own.
pub fn set_up() -> Result<(), NetworkError> {
    let piped = Stdio::piped;
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(piped())
        .stdout(piped())
        .stderr(piped())
        .spawn()
        .map_err(NetworkError::NoIp)?;
    if let Some(mut stdin) = ip.stdin.take() {
        stdin.write_all(SET_UP.as_bytes()).map_err(NetworkError::NoIp)?;
    }
    let output = ip.wait_with_output().map_err(NetworkError::NoIp)?;
    if output.status.success() {
        return Ok(());
    }
    Err(NetworkError::Refused(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}
