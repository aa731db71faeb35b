//! Connections to the Function URL, or to Lambda's API, kept between requests.
//!
//! Between two invocations the function may have been frozen: the monotonic clock stood still meanwhile, and the service has
//! closed what was idle. So ages are of the wall clock, and a connection is looked at before it is used again.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use lambda_env::aws::PublicTls;
use tokio::{net::TcpStream, task::yield_now, time::timeout};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::{
    config::Endpoint,
    error::{CallError, Sent},
};

/// How long opening a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection is kept idle: less than any front end of AWS keeps one.
const IDLE_LIMIT: Duration = Duration::from_secs(20);
/// How many connections are kept: a function's parallel requests.
const MAX_KEPT: usize = 32;

type Sender = http1::SendRequest<Full<Bytes>>;

/// One endpoint, and the connections to it.
pub(crate) struct Upstream {
    endpoint: Endpoint,
    /// Made at the first need: INIT is not to wait for it.
    tls: PublicTls,
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    sender: Sender,
    used: SystemTime,
}

impl Upstream {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            tls: PublicTls::default(),
            kept: Mutex::default(),
        }
    }

    /// Sends a request, and returns the head of the response. `may_repeat`: it may reach the target twice.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        may_repeat: bool,
    ) -> Result<Response<Incoming>, CallError> {
        let copy = request.clone();
        if let Some(sender) = self.take().await {
            match self.exchange(sender, request).await {
                Ok(response) => return Ok(response),
                // It died idle: not a byte of the request has left, or the request may be sent twice.
                Err(failure) if !failure.left || may_repeat => {}
                Err(failure) => return Err(self.unreachable(&failure.error, Sent::Unknown)),
            }
        }
        let sender = match timeout(CONNECT_LIMIT, self.connect()).await {
            Ok(connected) => connected.map_err(|error| self.unreachable(&error, Sent::No))?,
            Err(_) => return Err(self.unreachable(&format!("no connection within {CONNECT_LIMIT:?}"), Sent::No)),
        };
        let response = self.exchange(sender, copy).await;
        response.map_err(|failure| {
            let sent = if failure.left { Sent::Unknown } else { Sent::No };
            self.unreachable(&failure.error, sent)
        })
    }

    async fn exchange(&self, mut sender: Sender, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let response = sender.try_send_request(request).await.map_err(|mut error| Failure {
            left: error.take_message().is_none(),
            error: error.into_error(),
        })?;
        // It is ready again when the body has been read.
        self.keep(sender);
        Ok(response)
    }

    /// A kept connection that is open as far as can be seen.
    async fn take(&self) -> Option<Sender> {
        // Lets the connections' own tasks notice what arrived meanwhile: an end above all.
        yield_now().await;
        let now = SystemTime::now();
        let mut kept = self.kept();
        kept.retain(|kept| {
            let idle = now.duration_since(kept.used);
            !kept.sender.is_closed() && idle.is_ok_and(|idle| idle <= IDLE_LIMIT)
        });
        let ready = kept.iter().rposition(|kept| kept.sender.is_ready())?;
        Some(kept.remove(ready).sender)
    }

    fn keep(&self, sender: Sender) {
        let mut kept = self.kept();
        if kept.len() >= MAX_KEPT {
            kept.remove(0);
        }
        let used = SystemTime::now();
        kept.push(Kept { sender, used });
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> io::Result<Sender> {
        let Endpoint { host, port, tls, .. } = &self.endpoint;
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), *port)).await?;
        stream.set_nodelay(true)?;
        if !tls {
            return handshake(stream).await;
        }
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
        handshake(self.tls.connector()?.connect(name, stream).await?).await
    }

    fn unreachable(&self, error: &dyn std::fmt::Display, sent: Sent) -> CallError {
        let Endpoint { host, port, .. } = &self.endpoint;
        let hint = match sent {
            Sent::No => {
                ": a function in a VPC needs a way there, such as a NAT gateway, or an interface endpoint for Lambda's API"
            }
            Sent::Unknown => "",
        };
        CallError::Unreachable {
            message: format!("the tailnet's proxy at {host}:{port} gave no response: {error}{hint}"),
            sent,
        }
    }
}

/// Why there is no response.
struct Failure {
    /// Whether any of the request may have left.
    left: bool,
    error: hyper::Error,
}

async fn handshake(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
) -> io::Result<Sender> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Its error is the error of the request that it hits.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
