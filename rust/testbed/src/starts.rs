//! Cold starts: of the function's environment, and of a bare tailscaled beside the function.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;

use crate::{
    Error,
    deadline::within,
    http_call::call,
    lambda::Event,
    node::Node,
    server::{Sample, Server},
    stack::TestStack,
};

/// How long a step of a bare tailscaled's may take.
const STEP_LIMIT: Duration = Duration::from_secs(15);
/// Where its SOCKS5 server listens.
const SOCKS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1088);

/// A cold start.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// From the program's start to its being ready: the end of INIT, or the state `Running`.
    pub ready: Duration,
    /// The first request, from there on.
    pub first: Sample,
}

impl Start {
    /// Both steps.
    pub fn whole(&self) -> Sample {
        let Sample { took, status } = self.first;
        let took = self.ready + took;
        Sample { took, status }
    }
}

/// Starts an environment by a GET of `server`, from the start of its extension, and ends it.
pub async fn environment(stack: &TestStack, server: &Server) -> Result<Start, Error> {
    let events = &stack.lambda.events;
    let since = events.len();
    let answered = async {
        let sample = server.ask(stack, "GET").await;
        (sample.status, Instant::now())
    };
    let initialized = async {
        events.find(since, Event::extension_started).await;
        let started = Instant::now();
        stack.lambda.reached(since, "initialized").await?;
        Ok::<_, Error>((started, Instant::now()))
    };
    let (initialized, (status, answered)) = tokio::join!(initialized, answered);
    let (started, initialized) = initialized?;
    stack.lambda.retire(since).await?;
    Ok(Start {
        ready: initialized - started,
        first: Sample {
            took: answered - initialized,
            status,
        },
    })
}

/// A tailscaled without the extension, on the function's side of the link.
#[derive(Debug)]
pub struct Bare {
    node: Node,
    /// What leads to its SOCKS5 server, from this side of the link.
    socks: SocketAddr,
    target: (String, u16),
}

impl Bare {
    /// Starts it with this auth key, and has it ask `server` once.
    pub async fn start(stack: &TestStack, hostname: &str, key: &str, server: &Server) -> Result<(Self, Start), Error> {
        let began = Instant::now();
        let node = stack.backends.machine_beside_function(hostname, SOCKS, key);
        let (node, socks) = node.await?;
        let ready = began.elapsed();
        let (machine, port) = server.address();
        let target = (machine.to_string(), port);
        let bare = Self { node, socks, target };
        let first = bare.ask().await?;
        Ok((bare, Start { ready, first }))
    }

    /// A GET over a new connection, which must be answered with 200.
    pub async fn ask(&self) -> Result<Sample, Error> {
        let began = Instant::now();
        let stream = within(STEP_LIMIT, "a dial by the bare tailscaled", self.dial()).await?;
        let request = Request::get("/").header("host", format!("{}:{}", self.target.0, self.target.1));
        let answer = call(stream, request.body(Full::new(Bytes::new()))?, STEP_LIMIT).await?;
        assert_eq!(answer.status(), 200, "{answer:?}");
        Ok(Sample::ok(began.elapsed()))
    }

    /// The first dials after a start can fail.
    async fn dial(&self) -> Socks5Stream<TcpStream> {
        loop {
            if let Ok(stream) = Socks5Stream::connect(self.socks, self.target.clone()).await {
                return stream;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends it.
    pub async fn stop(self) {
        self.node.process.stop(STEP_LIMIT).await;
    }
}
