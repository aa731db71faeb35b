//! One request to its target and back: a kept connection or a new one, and at most one more try where that is safe.

use std::{sync::OnceLock, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Method, response::Parts};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use status::{Answer as Verdict, Ask};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    answer::{BUFFERED_LIMIT, too_large},
    config::Config,
    dial::{Destination, DialError, dial},
    error::ProxyError,
    pool::{Connection, Pool},
    request::Outgoing,
    target::Target,
    tls::Tls,
};

/// What the extension may take beyond the wait that it was asked for.
const ASK_MARGIN: Duration = Duration::from_millis(250);
/// The pause before the extension is asked again when tailscaled has just gone and it has not noticed yet.
const NOTICE_PAUSE: Duration = Duration::from_millis(20);

/// Forwards requests; holds the kept connections.
pub struct Forwarder {
    config: Config,
    pool: Pool,
    /// Made at the first need: plain http does not wait for it.
    tls: OnceLock<Result<Tls, ProxyError>>,
}

/// A target's answer, its body still to be read.
pub struct Reply {
    parts: Parts,
    body: Incoming,
    connection: Connection,
}

impl Forwarder {
    /// A forwarder without connections yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            pool: Pool::default(),
            tls: OnceLock::new(),
        }
    }

    /// Sends `request` to `target` and reads the whole answer, by `end`.
    pub async fn exchange(
        &self,
        target: &Target,
        request: Outgoing,
        end: Instant,
    ) -> Result<(Parts, Bytes), ProxyError> {
        let end = self
            .config
            .response_timeout
            .map_or(end, |limit| end.min(Instant::now() + limit));
        let began = Instant::now();
        match timeout_at(end, self.exchange_unlimited(target, request, end)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ProxyError::TargetTimeout(format!(
                "{target} did not answer within {} ms",
                began.elapsed().as_millis()
            ))),
        }
    }

    async fn exchange_unlimited(
        &self,
        target: &Target,
        request: Outgoing,
        end: Instant,
    ) -> Result<(Parts, Bytes), ProxyError> {
        let reply = self.send(target, request, end).await?;
        let (parts, body, connection) = self.read(target, reply).await?;
        self.pool.put(target, connection);
        Ok((parts, body))
    }

    /// Sends the request over a kept connection, or over a new one where there is none or it proves dead.
    async fn send(&self, target: &Target, request: Outgoing, end: Instant) -> Result<Reply, ProxyError> {
        let repeatable = is_idempotent(request.method());
        let mut request = request;
        while let Some(connection) = self.pool.take(target, repeatable).await {
            let copy = repeatable.then(|| request.clone());
            match transmit(connection, request).await {
                Ok(reply) => return Ok(reply),
                // Not a byte of it left: any method may go again.
                Err(Failed {
                    unsent: Some(unsent), ..
                }) => request = *unsent,
                // RFC 9110 section 9.2.2: what is idempotent may be repeated when the connection broke before an answer.
                Err(Failed { error, unsent: None }) => match copy {
                    Some(copy) if broke(&error) => {
                        request = copy;
                        break;
                    }
                    _ => return Err(self.broken(target, &error).await),
                },
            }
        }
        let connection = self.connect(target, end).await?;
        match transmit(connection, request).await {
            Ok(reply) => Ok(reply),
            Err(failed) => Err(self.broken(target, &failed.error).await),
        }
    }

    /// Opens a new connection, within the connect time-out.
    async fn connect(&self, target: &Target, end: Instant) -> Result<Connection, ProxyError> {
        let limit = self
            .config
            .connect_timeout
            .min(end.saturating_duration_since(Instant::now()));
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let destination = self.destination(target, left).await?;
            match dial(
                self.config.socks,
                &destination,
                until.saturating_duration_since(Instant::now()),
            )
            .await
            {
                Ok(stream) => match timeout_at(until, self.open(target, stream)).await {
                    Ok(opened) => return opened,
                    Err(_) => {
                        let message = format!("no TLS session with {target} within {} ms", limit.as_millis());
                        return Err(ProxyError::TargetTimeout(message));
                    }
                },
                Err(DialError::Refused(error)) => {
                    return Err(ProxyError::TargetUnreachable(format!(
                        "{target} cannot be reached: {error}"
                    )));
                }
                Err(DialError::TimedOut(_)) => {
                    let message = format!("no connection to {target} within {} ms", limit.as_millis());
                    return Err(ProxyError::TargetTimeout(message));
                }
                Err(error @ DialError::NoSocks(_)) if until <= Instant::now() + NOTICE_PAUSE => {
                    return Err(ProxyError::TailnetUnavailable(error.to_string()));
                }
                Err(DialError::NoSocks(_)) => sleep(NOTICE_PAUSE).await,
            }
        }
    }

    /// Speaks TLS on a new connection where the target wants it, then HTTP.
    async fn open(&self, target: &Target, stream: TcpStream) -> Result<Connection, ProxyError> {
        let Some(name) = target.tls.clone() else {
            return handshake(target, stream).await;
        };
        let tls = self.tls.get_or_init(|| Tls::new(&self.config)).clone()?;
        handshake(target, tls.connect(target, name, stream).await?).await
    }

    /// Asks the extension whether `target` may be dialled, and under which addresses; waits for a tailnet on its way up.
    async fn destination(&self, target: &Target, wait: Duration) -> Result<Destination, ProxyError> {
        match self.ask(target, wait).await? {
            Verdict::Go { addresses, settling } if !addresses.is_empty() => Ok(Destination {
                addresses,
                port: target.port,
                settling,
            }),
            Verdict::Go { .. } => Err(ProxyError::Internal(format!("no address was found for {target}"))),
            Verdict::NotAllowed { message } => Err(ProxyError::TargetNotAllowed(message)),
            Verdict::UnknownName { message } => Err(ProxyError::TargetUnreachable(message)),
            Verdict::Unavailable { message } => Err(ProxyError::TailnetUnavailable(message)),
        }
    }

    async fn ask(&self, target: &Target, wait: Duration) -> Result<Verdict, ProxyError> {
        let host = match &target.host {
            crate::target::Host::Address(address) => address.to_string(),
            crate::target::Host::Name(name) => name.clone(),
        };
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let ask = Ask { host, wait_ms };
        status::ask(&self.config.status_socket, &ask, wait + ASK_MARGIN)
            .await
            .map_err(|error| {
                ProxyError::TailnetUnavailable(format!(
                    "the Tailscale extension does not answer: {error}; is its layer there?"
                ))
            })
    }

    /// What a broken connection means: the target's doing, or the end of tailscaled itself.
    async fn broken(&self, target: &Target, error: &hyper::Error) -> ProxyError {
        match self.destination(target, Duration::ZERO).await {
            Err(error @ ProxyError::TailnetUnavailable(_)) => error,
            _ => ProxyError::TargetUnreachable(format!("the connection to {target} broke: {}", chain(error))),
        }
    }

    async fn read(&self, target: &Target, reply: Reply) -> Result<(Parts, Bytes, Connection), ProxyError> {
        let Reply {
            parts,
            mut body,
            connection,
        } = reply;
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return Err(self.broken(target, &error).await),
            };
            // Trailers have no place in the answer's format; RFC 9110 section 6.5.1 lets them be dropped.
            if let Ok(data) = frame.into_data() {
                bytes.extend_from_slice(&data);
            }
            if bytes.len() > BUFFERED_LIMIT {
                return Err(too_large(&format!("over {BUFFERED_LIMIT} bytes")));
            }
        }
        Ok((parts, bytes.freeze(), connection))
    }
}

/// A request that got no answer.
struct Failed {
    error: hyper::Error,
    /// The request, if not a byte of it was sent.
    unsent: Option<Box<Outgoing>>,
}

async fn transmit(mut connection: Connection, request: Outgoing) -> Result<Reply, Failed> {
    match connection.try_send_request(request).await {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            Ok(Reply {
                parts,
                body,
                connection,
            })
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

async fn handshake(
    target: &Target,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Connection, ProxyError> {
    let handshake = http1::Builder::new()
        // Targets on premises can be old; RFC 9112 section 5.2 lets a recipient take these in.
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .max_headers(256)
        .handshake(TokioIo::new(stream));
    let (connection, driver) = handshake
        .await
        .map_err(|error| ProxyError::Internal(format!("no HTTP with {target}: {error}")))?;
    // An error of the connection reaches the request that it hits; one without a request hits nobody.
    tokio::spawn(async move { drop(driver.await) });
    Ok(connection)
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

fn chain(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
