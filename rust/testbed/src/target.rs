//! What requests are for: a machine of the tailnet with go-httpbin behind it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{net::TcpStream, time::sleep};

use crate::{
    Error,
    binaries::Binaries,
    control::Control,
    node::Node,
    process::{Process, command},
};

/// How long go-httpbin may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);
/// The pause between attempts to connect: go-httpbin logs that it listens before it does.
const CONNECT_PAUSE: Duration = Duration::from_millis(5);
/// The largest body that it takes and sends, in bytes.
const MAX_BODY_BYTES: u32 = 512 << 20;

/// The port of go-httpbin, on the node's tailnet address.
pub const PORT: u16 = 8080;
/// A port on which nobody listens.
pub const CLOSED_PORT: u16 = 8099;
/// The node's name.
pub const HOSTNAME: &str = "target";

/// The running target.
#[derive(Debug)]
pub struct Target {
    /// The machine.
    pub node: Node,
    /// The server behind it.
    pub httpbin: Process,
}

impl Target {
    /// Starts both, at once.
    pub async fn start(
        binaries: &Binaries,
        control: &Control,
        auth_key: &str,
        run_dir: &std::path::Path,
    ) -> Result<Self, Error> {
        let node = Node::start(&binaries.tailscaled, HOSTNAME, None, control.url(), auth_key, run_dir);
        let (node, httpbin) = tokio::try_join!(node, start_httpbin(binaries, run_dir))?;
        Ok(Self { node, httpbin })
    }
}

async fn start_httpbin(binaries: &Binaries, run_dir: &std::path::Path) -> Result<Process, Error> {
    let mut command = command(&binaries.go_httpbin, run_dir);
    command
        .arg(format!("-host={}", Ipv4Addr::LOCALHOST))
        .arg(format!("-port={PORT}"))
        .arg(format!("-max-body-size={MAX_BODY_BYTES}"))
        .args(["-max-duration=120s", "-srv-read-timeout=60s", "-log-level=WARN"]);
    let process = Process::spawn("go-httpbin", &mut command)?;
    process
        .ready(
            START_LIMIT,
            "its port",
            listening(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))),
        )
        .await?;
    Ok(process)
}

async fn listening(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        sleep(CONNECT_PAUSE).await;
    }
}
