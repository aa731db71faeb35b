//! A tailscaled without the extension, on the function's side of the link.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use testbed::{Error, deadline::within, http_call::call, node::Node, target::PORT, world::World};
use tokio_socks::tcp::Socks5Stream;

use crate::path::STEP_LIMIT;

/// Where its SOCKS5 server listens.
const SOCKS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1088);

/// A running one.
pub(crate) struct Bare {
    node: Node,
    /// What leads to its SOCKS5 server, from this side of the link.
    socks: SocketAddr,
    target: (String, u16),
}

impl Bare {
    /// Starts it, and waits until it says that it is running.
    pub(crate) async fn start(world: &World, hostname: &str, key: &str) -> Result<Self, Error> {
        let surroundings = &world.surroundings;
        let (node, socks) = surroundings.machine_beside_function(hostname, SOCKS, key).await?;
        let target = (surroundings.target.node.address().to_string(), PORT);
        Ok(Self { node, socks, target })
    }

    /// How long a GET over a new connection takes.
    pub(crate) async fn ask(&self) -> Result<Duration, Error> {
        let began = Instant::now();
        let stream = within(STEP_LIMIT, "a dial by the bare tailscaled", self.dial()).await?;
        let request = Request::get("/get").header("host", format!("{}:{}", self.target.0, self.target.1));
        let answer = call(stream, request.body(Bytes::new().into()).unwrap(), STEP_LIMIT).await?;
        assert_eq!(answer.status(), 200, "{answer:?}");
        Ok(began.elapsed())
    }

    /// The first dials after a start can fail.
    async fn dial(&self) -> Socks5Stream<tokio::net::TcpStream> {
        loop {
            if let Ok(stream) = Socks5Stream::connect(self.socks, self.target.clone()).await {
                return stream;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        self.node.process.stop(STEP_LIMIT).await;
    }
}
