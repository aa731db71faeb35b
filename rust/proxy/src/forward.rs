//! One request to its target and back: a kept connection or a new one, and at most one more try where that is safe.

use std::{pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Method, response::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    account::{self, Travel},
    answer::{BUFFERED_LIMIT, too_large},
    config::Config,
    connect::Connector,
    error::ProxyError,
    pool::{Connection, Pool},
    request::Outgoing,
    target::Target,
};

/// A connection idle for this long may have slept through a freeze: the extension looks after the tailnet first.
const SLEPT: Duration = Duration::from_secs(2);

/// The longest idle time of a kept connection that a repeatable request may meet: if it is dead, the request goes again.
const IDLE_LIMIT: Duration = Duration::from_secs(50);
/// The same for a request that must not be sent twice. Servers close idle connections after 2 s (gunicorn) or more.
const CAUTIOUS_IDLE_LIMIT: Duration = Duration::from_millis(1500);
/// How long after a thaw the end of a connection may take to show that arrived while the environment was frozen: it
/// has to pass through tailscaled, which was frozen too.
const NOTICE_LIMIT: Duration = Duration::from_millis(50);

/// Forwards requests; holds the kept connections.
pub struct Forwarder {
    connector: Connector,
    pool: Pool,
    may_freeze: bool,
}

/// Which connections a request may go by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A kept one that was idle for this long at most, if there is one.
    KeptFirst(Duration),
    /// A new one; but where that takes long, a kept one whose end would have shown by then.
    NewFirst,
    /// A new one.
    New,
}

/// A target's answer, its body still to be read.
pub struct Reply {
    /// Its status and headers.
    pub parts: Parts,
    body: Incoming,
    connection: Connection,
    target: Target,
    began: Instant,
    end: Instant,
}

impl Forwarder {
    /// A forwarder without connections yet.
    pub fn new(config: Config) -> Self {
        Self {
            may_freeze: config.may_freeze,
            connector: Connector::new(config),
            pool: Pool::default(),
        }
    }

    /// Has the extension look after the tailnet, by `end` at the latest.
    pub async fn keep_alive(&self, end: Instant) -> Result<(), ProxyError> {
        self.connector.keep_alive(end).await
    }

    /// Sends `request` to `target` and waits for the head of its answer, all of which must have come by `end`;
    /// `travel` tells how that went, whatever came of it.
    pub async fn open(
        &self,
        target: Target,
        request: Outgoing,
        end: Instant,
        travel: &mut Travel,
    ) -> Result<Reply, ProxyError> {
        let began = Instant::now();
        let sent = timeout_at(end, self.send(&target, request, end, travel)).await;
        travel.tailnet_ready = self.connector.tailnet_ready();
        match sent {
            Ok(Ok((parts, body, connection))) => {
                travel.head = Some((parts.status, Instant::now()));
                Ok(Reply {
                    parts,
                    body,
                    connection,
                    target,
                    began,
                    end,
                })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(too_late(&target, began)),
        }
    }

    /// The next bytes of the answer's body; `None` at its end.
    pub async fn next(&self, reply: &mut Reply) -> Option<Result<Bytes, ProxyError>> {
        loop {
            let frame = match timeout_at(reply.end, reply.body.frame()).await {
                Ok(frame) => frame?,
                Err(_) => return Some(Err(too_late(&reply.target, reply.began))),
            };
            match frame.map(|frame| frame.into_data()) {
                Ok(Ok(data)) => return Some(Ok(data)),
                // Trailers have no place in the answer's format; RFC 9110 section 6.5.1 lets them be dropped.
                Ok(Err(_)) => {}
                Err(error) => return Some(Err(self.connector.why_broken(&reply.target, &error).await)),
            }
        }
    }

    /// Keeps the connection of an answer that has been read to its end.
    pub fn keep(&self, reply: Reply) {
        self.pool.put(&reply.target, reply.connection);
    }

    /// Reads a whole answer, as far as a buffered one may go.
    pub async fn collect(&self, mut reply: Reply) -> Result<(Parts, Bytes), ProxyError> {
        let mut body = BytesMut::new();
        while let Some(bytes) = self.next(&mut reply).await {
            body.extend_from_slice(&bytes?);
            if body.len() > BUFFERED_LIMIT {
                return Err(too_large(&format!("over {BUFFERED_LIMIT} bytes")));
            }
        }
        let parts = reply.parts.clone();
        self.keep(reply);
        Ok((parts, body.freeze()))
    }

    /// Sends the request over a kept connection, or over a new one where there is none or it proves dead.
    async fn send(
        &self,
        target: &Target,
        request: Outgoing,
        end: Instant,
        travel: &mut Travel,
    ) -> Result<Received, ProxyError> {
        let repeatable = is_idempotent(request.method());
        let mut way = match (repeatable, self.may_freeze) {
            (true, _) => Way::KeptFirst(IDLE_LIMIT),
            (false, true) => Way::NewFirst,
            (false, false) => Way::KeptFirst(CAUTIOUS_IDLE_LIMIT),
        };
        let mut request = request;
        loop {
            let (connection, kept) = self.connection(target, way, end).await?;
            travel.connection = Some(if kept { account::Way::Kept } else { account::Way::New });
            let copy = (repeatable && kept).then(|| request.clone());
            match transmit(connection, request).await {
                Ok(received) => return final_answer(target, received),
                // Not a byte of it left: any method may go again.
                Err(Failed {
                    unsent: Some(unsent), ..
                }) if kept => (request, travel.retries) = (*unsent, travel.retries + 1),
                // RFC 9110 section 9.2.2: what is idempotent may be repeated when the connection broke before an answer.
                Err(Failed { error, .. }) => match copy {
                    Some(copy) if broke(&error) => {
                        (request, way, travel.retries) = (copy, Way::New, travel.retries + 1);
                    }
                    _ => return Err(self.connector.why_broken(target, &error).await),
                },
            }
        }
    }

    /// A connection, and whether it is one that was kept: each of those is taken once, so there is an end to them.
    async fn connection(&self, target: &Target, way: Way, end: Instant) -> Result<(Connection, bool), ProxyError> {
        if let Way::KeptFirst(limit) = way
            && let Some((kept, idle)) = self.pool.take(target, limit).await
        {
            if idle >= SLEPT {
                self.connector.look(target, end).await?;
            }
            return Ok((kept, true));
        }
        let mut connecting = pin!(self.connector.connect(target, end));
        if way == Way::NewFirst {
            if let Ok(connected) = timeout(NOTICE_LIMIT, &mut connecting).await {
                return connected.map(|new| (new, false));
            }
            if let Some((kept, _)) = self.pool.take(target, CAUTIOUS_IDLE_LIMIT).await {
                return Ok((kept, true));
            }
        }
        connecting.await.map(|new| (new, false))
    }
}

/// A target that changes the protocol unasked (101) leaves nothing to pass on; hyper takes in all other 1xx answers.
fn final_answer(target: &Target, received: Received) -> Result<Received, ProxyError> {
    let status = received.0.status;
    if status.is_informational() {
        return Err(ProxyError::TargetUnreachable(format!(
            "{target} answered {status}, and with that it left HTTP"
        )));
    }
    Ok(received)
}

/// The head of an answer, the way to its body, and the connection that it comes by.
type Received = (Parts, Incoming, Connection);

/// A request that got no answer.
struct Failed {
    error: hyper::Error,
    /// The request, if not a byte of it was sent.
    unsent: Option<Box<Outgoing>>,
}

async fn transmit(mut connection: Connection, request: Outgoing) -> Result<Received, Failed> {
    match connection.try_send_request(request).await {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            Ok((parts, body, connection))
        }
        Err(mut error) => {
            let unsent = error.take_message().map(Box::new);
            Err(Failed {
                error: error.into_error(),
                unsent,
            })
        }
    }
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::TRACE,
        Method::PUT,
        Method::DELETE,
    ]
    .contains(method)
}

/// Whether the connection ended before an answer began, as a kept connection does that the other end has closed.
fn broke(error: &hyper::Error) -> bool {
    !error.is_parse() && !error.is_user()
}

fn too_late(target: &Target, began: Instant) -> ProxyError {
    ProxyError::TargetTimeout(format!(
        "{target} did not answer within {} ms",
        began.elapsed().as_millis()
    ))
}
