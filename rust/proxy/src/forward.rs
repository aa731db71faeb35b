//! One request to its target and back: over a kept connection or a new one, and again where that is safe.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Method, StatusCode, header, response::Parts};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tailnet::{host::Host, intermediary::is_idempotent};
use tokio::{
    select,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    clock::Clock,
    config::Config,
    connect::Connector,
    diagnose::Report,
    error::ProxyError,
    pool::{Connection, Kept, Pool},
    request::Outgoing,
    request_log::{ConnectionKind, Sent, Timings},
    response::{BUFFERED_LIMIT, too_large},
    target::Target,
    timeouts::Limits,
};

/// A connection that was idle for less is used without a check: servers close idle connections after 2 s (gunicorn) or
/// more, and a freeze this short breaks no path.
const FRESH: Duration = Duration::from_millis(1500);
/// What must not be sent twice gives a FIN the time to show where the connection was idle for this long or longer: it may
/// have arrived during a freeze. Callers in a row wait for nothing.
const NO_PAUSE: Duration = Duration::from_millis(100);
/// How often it is checked where a name leads while its connection is never idle for long.
const RESOLVE_AFTER: Duration = Duration::from_secs(30);
/// How long the response of a connection that rested is waited for: this many times what its last one took, and between
/// these two. The target may have closed the connection, and its FIN be lost with the freeze: a NAT forgot the flow, or
/// tailscaled opened its UDP socket anew. Then what is sent is acknowledged, by a target that runs in userspace, and never
/// read; the FIN comes again after seconds.
const PATIENCE_TIMES: u32 = 4;
const LEAST_PATIENCE: Duration = Duration::from_millis(100);
const MOST_PATIENCE: Duration = Duration::from_millis(800);
/// How long a FIN that arrived during a freeze may take to reach us: it has to pass through tailscaled, which was frozen
/// too.
const FIN_GRACE: Duration = Duration::from_millis(5);
/// A body of unknown length that is larger gets room for the largest at once. Growing on would copy it several times, and
/// hold two of it; room that is not used takes no memory.
const GROWS_UP_TO: usize = 256 * 1024;

/// Forwards requests; holds the kept connections.
pub struct Forwarder {
    connector: Connector,
    pool: Pool,
    clock: Clock,
}

/// A target's response, its body still to be read.
pub struct UpstreamResponse {
    /// Its status and headers.
    pub parts: Parts,
    body: Incoming,
    connection: Connection,
    target: Target,
    began: Instant,
    limits: Limits,
    /// The target may have authenticated the connection: it is for nobody else.
    private: bool,
    /// The body ends where the connection does.
    until_close: bool,
}

/// The head of a target's response, its body, and the connection that it comes by.
type Response = (Parts, Incoming, Connection);

/// What came of a kept connection.
enum Attempt {
    Responded(Parts, Incoming, Connection),
    /// Nothing, and the request may go over a new one.
    Again(Outgoing),
}

impl Forwarder {
    /// A forwarder without connections yet.
    pub fn new(config: Config, clock: Clock) -> Self {
        Self {
            connector: Connector::new(config, clock.clone()),
            pool: Pool::new(clock.clone()),
            clock,
        }
    }

    /// Has the extension make sure that the tailnet is there, by `deadline` at the latest.
    pub async fn keep_alive(&self, deadline: Instant) -> Result<(), ProxyError> {
        self.connector.keep_alive(deadline).await
    }

    /// Lets the extension do what an invocation is for, by `deadline` at the latest.
    pub async fn invoked(&self, deadline: Instant) {
        self.connector.invoked(deadline).await;
    }

    /// Tries the way to `target` as far as a connection; `allowed` is what the list of allowed targets says.
    pub async fn diagnose(&self, target: &Target, allowed: Result<(), ProxyError>, limits: Limits) -> Report {
        self.connector.diagnose(target, allowed, limits).await
    }

    /// Sends `request` to `target` and waits for the head of its response; `timings` tells how that went, whatever came of
    /// it.
    pub async fn open(
        &self,
        target: Target,
        request: Outgoing,
        limits: Limits,
        timings: &mut Timings,
    ) -> Result<UpstreamResponse, ProxyError> {
        let began = Instant::now();
        let is_head = request.method() == Method::HEAD;
        let authenticates = authenticates_connection(request.headers(), &header::AUTHORIZATION);
        let sent = timeout_at(limits.deadline, self.send(&target, request, limits, timings)).await;
        timings.tailnet_ready = self.connector.tailnet_ready();
        let (parts, body, connection) = sent.unwrap_or_else(|_| Err(too_late(&target, began)))?;
        timings.head = Some((parts.status, Instant::now()));
        Ok(UpstreamResponse {
            until_close: !is_head && ends_with_connection(&parts),
            private: authenticates || authenticates_connection(&parts.headers, &header::WWW_AUTHENTICATE),
            parts,
            body,
            connection,
            target,
            began,
            limits,
        })
    }

    /// The next bytes of the response's body; `None` at its end.
    pub async fn next(&self, response: &mut UpstreamResponse) -> Option<Result<Bytes, ProxyError>> {
        loop {
            let Limits { idle, deadline, .. } = response.limits;
            let idle_until = idle.map_or(deadline, |idle| deadline.min(Instant::now() + idle));
            let frame = match timeout_at(idle_until, response.body.frame()).await {
                Ok(frame) => frame,
                Err(_) => return Some(Err(response.body_timeout())),
            };
            let Some(frame) = frame else {
                if !response.until_close {
                    return None;
                }
                return self.connector.check_daemon().await.err().map(Err);
            };
            match frame.map(|frame| frame.into_data()) {
                Ok(Ok(data)) => return Some(Ok(data)),
                // Trailers have no place in the event's format; RFC 9110 section 6.5.1 lets them be dropped.
                Ok(Err(_)) => {}
                Err(error) => {
                    let UpstreamResponse { target, connection, .. } = response;
                    return Some(Err(self.connector.classify_break(target, connection, &error).await));
                }
            }
        }
    }

    /// Keeps the connection of a response that has been read to its end; returns its head.
    pub fn release(&self, response: UpstreamResponse) -> Parts {
        if !response.private {
            self.pool.put(&response.target, response.connection);
        }
        response.parts
    }

    /// Reads a whole response, as far as a buffered one may go.
    pub async fn collect(&self, mut response: UpstreamResponse) -> Result<(Parts, Bytes), ProxyError> {
        // What is known before it is read: 0 for HEAD, whatever the header says.
        let length = response.body.size_hint().exact().unwrap_or_default();
        if length > BUFFERED_LIMIT as u64 {
            return Err(too_large(&format!("{length} bytes")));
        }
        let first = self.next(&mut response).await.transpose()?.unwrap_or_default();
        if response.body.is_end_stream() {
            // Most responses are one piece, and are not copied.
            return Ok((self.release(response), first));
        }
        // At once as large as it will be, where that is known: growing copies it several times.
        let expected = usize::try_from(length).unwrap_or_default().max(first.len());
        let mut body = BytesMut::with_capacity(expected);
        body.extend_from_slice(&first);
        while let Some(bytes) = self.next(&mut response).await {
            let bytes = bytes?;
            let length = body.len() + bytes.len();
            if length > BUFFERED_LIMIT {
                return Err(too_large(&format!("over {BUFFERED_LIMIT} bytes")));
            }
            if length > body.capacity() && length > GROWS_UP_TO {
                body.reserve(BUFFERED_LIMIT - body.len());
            }
            body.extend_from_slice(&bytes);
        }
        Ok((self.release(response), body.freeze()))
    }

    /// Sends the request over the kept connection, or over a new one where there is none or it proves dead. The kept one
    /// is closed before the new one is opened.
    async fn send(
        &self,
        target: &Target,
        mut request: Outgoing,
        limits: Limits,
        timings: &mut Timings,
    ) -> Result<Response, ProxyError> {
        if let Some(kept) = self.pool.take(target).await {
            match self.send_over_kept(target, kept, request, limits, timings).await? {
                Attempt::Responded(parts, body, connection) => return Ok((parts, body, connection)),
                Attempt::Again(again) => request = again,
            }
        }
        self.send_over_new(target, request, limits, timings).await
    }

    async fn send_over_new(
        &self,
        target: &Target,
        request: Outgoing,
        limits: Limits,
        timings: &mut Timings,
    ) -> Result<Response, ProxyError> {
        let mut connection = self.connector.connect(target, limits.connect, limits.deadline).await?;
        timings.connection = Some(ConnectionKind::New);
        match transmit(&mut connection, request, limits, &mut timings.sent).await {
            Ok((parts, body)) => Ok((final_response(target, parts)?, body, connection)),
            Err(SendError::Late(limit)) => Err(late(target, limit)),
            Err(SendError::Unsent(error, _) | SendError::Broken(error)) => {
                Err(self.connector.classify_break(target, &connection, &error).await)
            }
        }
    }

    async fn send_over_kept(
        &self,
        target: &Target,
        kept: Kept,
        request: Outgoing,
        limits: Limits,
        timings: &mut Timings,
    ) -> Result<Attempt, ProxyError> {
        let must_check = self.must_check(target, &kept);
        let mut connection = kept.connection;
        let (address, path) = (connection.address, connection.path);
        let check_until = limits.deadline.min(Instant::now() + limits.connect);
        let check = || self.connector.is_current(target, address, path, check_until);
        let copy = is_idempotent(request.method()).then(|| request.clone());
        // Anything else goes out only where no FIN can have been lost, and none is known to have come.
        let usable = copy.is_some()
            || kept.idle < FRESH
                && (!must_check || check().await?)
                && (kept.idle < NO_PAUSE || is_open_still(&connection).await);
        if !usable {
            connection.close().await;
            return Ok(Attempt::Again(request));
        }
        timings.connection = Some(ConnectionKind::Kept);
        let first_wait = patience(connection.first_byte);
        let patience = (kept.idle >= FRESH).then_some(first_wait);
        let transmitted = transmit(&mut connection, request, limits, &mut timings.sent);
        let (outcome, checked) = match &copy {
            // What is idempotent goes out at once, and the path is verified meanwhile: if that had died, it goes again.
            Some(copy) if must_check => {
                let mut transmitted = pin!(transmitted);
                match watch(transmitted.as_mut(), check(), patience).await? {
                    Watched::Done(outcome, checked) => (Some(outcome), checked),
                    Watched::Stale => (None, false),
                    Watched::Slow => {
                        let mut second = Timings::default();
                        let again = async {
                            match self.send_over_new(target, copy.clone(), limits, &mut second).await {
                                // Then the old connection leads nowhere either.
                                Err(error @ ProxyError::TargetNotAllowed(_)) => Ok(Err(error)),
                                response => response.map(Ok),
                            }
                        };
                        match first_response(transmitted, again).await {
                            First::Old(outcome) => (Some(outcome), true),
                            First::New(response) => {
                                let (parts, body, connection) = response??;
                                timings.connection = Some(ConnectionKind::New);
                                timings.retries += 1;
                                return Ok(Attempt::Responded(parts, body, connection));
                            }
                        }
                    }
                }
            }
            _ => {
                let refusal = || self.connector.refusal(address, path, check_until);
                let outcome = unless_refused(pin!(transmitted), refusal, first_wait).await?;
                (Some(outcome), must_check)
            }
        };
        if checked {
            connection.resolved = self.clock.now();
        }
        let again = match (outcome, copy) {
            (Some(Ok((parts, body))), _) => {
                return Ok(Attempt::Responded(final_response(target, parts)?, body, connection));
            }
            (Some(Err(SendError::Late(limit))), _) => return Err(late(target, limit)),
            // Not a byte of it left: any method may go again.
            (Some(Err(SendError::Unsent(_, unsent))), _) => *unsent,
            // RFC 9110 section 9.2.2: what is idempotent may be repeated when the connection broke before a response.
            (Some(Err(SendError::Broken(error))), Some(copy)) if is_retryable(&error) => copy,
            (Some(Err(SendError::Broken(error))), _) => {
                return Err(self.connector.classify_break(target, &connection, &error).await);
            }
            (None, Some(copy)) => copy,
            (None, None) => return Err(ProxyError::Internal("BUG: there is no copy of the request".to_owned())),
        };
        connection.close().await;
        timings.retries += 1;
        Ok(Attempt::Again(again))
    }

    /// Whether the extension must be asked before a kept connection is trusted.
    fn must_check(&self, target: &Target, kept: &Kept) -> bool {
        let is_name = matches!(target.host, Host::Name(_));
        kept.idle >= FRESH || (is_name && self.clock.since(kept.connection.resolved) >= RESOLVE_AFTER)
    }
}

impl UpstreamResponse {
    /// Which limit has passed while the body was awaited.
    fn body_timeout(&self) -> ProxyError {
        match self.limits.idle {
            Some(idle) if Instant::now() < self.limits.deadline => ProxyError::TargetTimeout(format!(
                "{} sent nothing for {} ms in the middle of its response",
                self.target,
                idle.as_millis()
            )),
            _ => too_late(&self.target, self.began),
        }
    }
}

/// What came of a request while its connection was checked.
enum Watched<T> {
    /// Its outcome, and whether the check had ended well by then.
    Done(T, bool),
    /// The connection is stale.
    Stale,
    /// The connection passed its check, and there was no response for as long as one is waited for.
    Slow,
}

/// Waits for the outcome of `transmitted`, while `check` has nothing against its connection and for as long as `patience`
/// says.
async fn watch<T>(
    mut transmitted: Pin<&mut impl Future<Output = T>>,
    check: impl Future<Output = Result<bool, ProxyError>>,
    patience: Option<Duration>,
) -> Result<Watched<T>, ProxyError> {
    let began = Instant::now();
    select! {
        biased;
        outcome = &mut transmitted => return Ok(Watched::Done(outcome, false)),
        current = check => if !current? {
            return Ok(Watched::Stale);
        },
    }
    let Some(patience) = patience else {
        return Ok(Watched::Done(transmitted.await, true));
    };
    Ok(timeout_at(began + patience, transmitted)
        .await
        .map_or(Watched::Slow, |outcome| Watched::Done(outcome, true)))
}

/// Waits for the outcome of `transmitted`. While there is none, `refusal` is asked whether the tailnet still covers the
/// target, after pauses that double from `pause` on: nothing answers over a connection whose route is gone.
async fn unless_refused<T, R: Future<Output = Option<ProxyError>>>(
    mut transmitted: Pin<&mut impl Future<Output = T>>,
    refusal: impl Fn() -> R,
    mut pause: Duration,
) -> Result<T, ProxyError> {
    loop {
        let refused = async {
            sleep(pause).await;
            refusal().await
        };
        select! {
            biased;
            outcome = &mut transmitted => return Ok(outcome),
            refused = refused => if let Some(error) = refused {
                return Err(error);
            },
        }
        pause *= 2;
    }
}

/// By which of two connections a response came first, or an error if it came by neither.
enum First<O, N> {
    Old(O),
    New(N),
}

/// Waits for the first response of the two; for the other one where the first to end has none.
async fn first_response<O, OE, N, NE>(
    mut old: Pin<&mut impl Future<Output = Result<O, OE>>>,
    new: impl Future<Output = Result<N, NE>>,
) -> First<Result<O, OE>, Result<N, NE>> {
    let mut new = pin!(new);
    select! {
        outcome = &mut old => match outcome {
            Ok(response) => First::Old(Ok(response)),
            Err(_) => First::New(new.await),
        },
        outcome = &mut new => match outcome {
            Ok(response) => First::New(Ok(response)),
            Err(error) => match old.await {
                Ok(response) => First::Old(Ok(response)),
                Err(_) => First::New(Err(error)),
            },
        },
    }
}

/// How long a response may take over a connection that rested, before the request goes out over a new one as well: longer
/// than the connection's last one took by far, so that few requests reach their target twice.
fn patience(last: Duration) -> Duration {
    (last * PATIENCE_TIMES).clamp(LEAST_PATIENCE, MOST_PATIENCE)
}

/// Whether a connection that passed its check is still open, once a FIN has had the time to show.
async fn is_open_still(connection: &Connection) -> bool {
    sleep(FIN_GRACE).await;
    !connection.sender.is_closed()
}

/// A target that changes the protocol unasked (101) leaves nothing to pass on; hyper takes in all other 1xx responses.
/// A transfer coding that was not asked for (RFC 9112 section 7.4) would go on as if it were the content.
fn final_response(target: &Target, parts: Parts) -> Result<Parts, ProxyError> {
    if parts.status.is_informational() {
        return Err(ProxyError::TargetUnreachable(format!(
            "{target} responded {}, and with that it left HTTP",
            parts.status
        )));
    }
    let codings = parts.headers.get_all(header::TRANSFER_ENCODING);
    let mut codings = codings.iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    if let Some(first) = codings.next()
        && (codings.next().is_some() || !first.trim().eq_ignore_ascii_case("chunked"))
    {
        return Err(ProxyError::TargetUnreachable(format!(
            "{target} responded with 'transfer-encoding: {}', though only chunked is understood",
            first.escape_default()
        )));
    }
    Ok(parts)
}

/// Why a request got no response.
enum SendError {
    /// The connection was closed before a byte of it was sent.
    Unsent(hyper::Error, Box<Outgoing>),
    /// The connection broke.
    Broken(hyper::Error),
    /// The response did not begin in this time.
    Late(Duration),
}

/// Sends a request and waits for the head of its response; `sent` tells whether it may have reached the target.
async fn transmit(
    connection: &mut Connection,
    request: Outgoing,
    limits: Limits,
    sent: &mut Sent,
) -> Result<(Parts, Incoming), SendError> {
    let earlier = std::mem::replace(sent, Sent::Unknown);
    let began = Instant::now();
    let response = connection.sender.try_send_request(request);
    let response = match limits.first_byte {
        Some(limit) => timeout(limit, response).await.map_err(|_| SendError::Late(limit))?,
        None => response.await,
    };
    match response {
        Ok(response) => {
            connection.first_byte = began.elapsed();
            *sent = Sent::Yes;
            Ok(response.into_parts())
        }
        Err(mut error) => match error.take_message() {
            Some(unsent) => {
                *sent = earlier;
                Err(SendError::Unsent(error.into_error(), Box::new(unsent)))
            }
            None => Err(SendError::Broken(error.into_error())),
        },
    }
}

/// Whether the connection ended before a response began, as a kept connection does that the other end has closed.
fn is_retryable(error: &hyper::Error) -> bool {
    !error.is_parse() && !error.is_user()
}

/// RFC 9112 section 6.3: the body of a response to anything but HEAD.
fn ends_with_connection(parts: &Parts) -> bool {
    let has_no_body = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&parts.status);
    let framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    !has_no_body && !framed.iter().any(|name| parts.headers.contains_key(name))
}

/// Whether credentials or challenges in the header `name` authenticate the connection rather than a request (RFC 4559
/// section 6, and NTLM): then what comes next on it has the caller's rights.
fn authenticates_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| {
        let scheme = part.split_whitespace().next().unwrap_or_default();
        ["NTLM", "Negotiate"]
            .iter()
            .any(|bound| scheme.eq_ignore_ascii_case(bound))
    })
}

fn late(target: &Target, limit: Duration) -> ProxyError {
    ProxyError::TargetTimeout(format!(
        "{target} did not begin to respond within {} ms",
        limit.as_millis()
    ))
}

fn too_late(target: &Target, began: Instant) -> ProxyError {
    ProxyError::TargetTimeout(format!(
        "{target} did not respond in full within {} ms",
        began.elapsed().as_millis()
    ))
}
