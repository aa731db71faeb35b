//! A server of a test's own behind a machine of the tailnet, and how long requests to it take through the function.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    Error,
    raw_target::{Move, RawTarget},
    stack::TestStack,
};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const CLOSING_ANSWER: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
/// How long a server keeps idle connections where a test does not say.
const KEPT: Duration = Duration::from_secs(75);

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// How long its answer took.
    pub took: Duration,
    /// The answer's status; 0 if there was none.
    pub status: u16,
}

impl Sample {
    /// A request that was answered as it should be.
    pub fn ok(took: Duration) -> Self {
        Self { took, status: 200 }
    }
}

/// The running server.
#[derive(Debug, Clone)]
pub struct Server {
    machine: Ipv4Addr,
    raw: RawTarget,
}

impl Server {
    /// One behind the target's machine that keeps idle connections for so long.
    pub async fn keeping(stack: &TestStack, idle_limit: Duration) -> Result<Self, Error> {
        Self::start(stack, idle_limit, vec![Move::Send(ANSWER.into())]).await
    }

    /// One that closes each connection after its answer.
    pub async fn closing(stack: &TestStack) -> Result<Self, Error> {
        Self::start(stack, KEPT, vec![Move::Send(CLOSING_ANSWER.into()), Move::Close]).await
    }

    async fn start(stack: &TestStack, idle_limit: Duration, play: Vec<Move>) -> Result<Self, Error> {
        let raw = RawTarget::keeping(idle_limit).await?;
        raw.play(play);
        let machine = stack.backends.target.node.address();
        Ok(Self { machine, raw })
    }

    /// The same server behind another machine.
    #[must_use]
    pub fn behind(&self, machine: Ipv4Addr) -> Self {
        Self {
            machine,
            raw: self.raw.clone(),
        }
    }

    /// Its machine and its port.
    pub fn address(&self) -> (Ipv4Addr, u16) {
        (self.machine, self.raw.address().port())
    }

    /// Sends a request through the function. What is not answered with 200 is printed.
    pub async fn ask(&self, stack: &TestStack, method: &str) -> Sample {
        let body = if method == "POST" { "a small body" } else { "" };
        let (machine, port) = self.address();
        let request = stack.url().request_to(machine, port, method, "/");
        let began = Instant::now();
        let answer = match request.body(Bytes::from_static(body.as_bytes())) {
            Ok(request) => stack.url().send(request).await,
            Err(error) => Err(error.into()),
        };
        let took = began.elapsed();
        let status = match &answer {
            Ok(answer) if answer.status() == 200 => 200,
            Ok(answer) => {
                let message = answer.headers().get("ts-error-message");
                eprintln!("    {}: {message:?} after {took:.1?}", answer.status());
                answer.status().as_u16()
            }
            Err(error) => {
                eprintln!("    {error} after {took:.1?}");
                0
            }
        };
        Sample { took, status }
    }

    /// Sends a request that must be answered with 200, and tells how long that took.
    pub async fn must_answer(&self, stack: &TestStack, method: &str) -> Duration {
        let Sample { took, status } = self.ask(stack, method).await;
        assert_eq!(status, 200, "{method} after {took:?}\n{}", stack.log());
        took
    }
}
