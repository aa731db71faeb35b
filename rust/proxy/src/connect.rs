//! A new connection to a target: may it be dialled, the dial itself, TLS, HTTP.

use std::{pin::pin, sync::OnceLock, time::Duration};

use dial::{Destination, DialError, Dialler, MOST_OUTSIDE};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use status::{Answer as Verdict, Ask};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    select,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    answers::Answers,
    config::Config,
    error::ProxyError,
    pool::Connection,
    target::{Host, Target},
    tls::Tls,
};

/// How long it may look at the way to a target that is being dialled meanwhile.
const HUNG_LIMIT: Duration = Duration::from_secs(3);
/// The pause before the extension is asked again when tailscaled has just gone and it has not noticed yet.
const NOTICE_PAUSE: Duration = Duration::from_millis(20);

/// Opens connections.
pub struct Connector {
    config: Config,
    dialler: Dialler,
    /// Made at the first need: plain http does not wait for it.
    tls: OnceLock<Result<Tls, ProxyError>>,
    tailnet_ready: OnceLock<Duration>,
}

impl Connector {
    /// A connector with these settings.
    pub fn new(config: Config) -> Self {
        Self {
            dialler: Dialler::new(config.socks),
            config,
            tls: OnceLock::new(),
            tailnet_ready: OnceLock::new(),
        }
    }

    /// How long the environment's login took, as soon as that is known.
    pub fn tailnet_ready(&self) -> Option<Duration> {
        self.tailnet_ready.get().copied()
    }

    /// Opens a new connection within the connect time-out, and before `end`.
    pub async fn connect(&self, target: &Target, end: Instant) -> Result<Connection, ProxyError> {
        let began = Instant::now();
        let until = end.min(began + self.config.connect_timeout);
        let limit = until.saturating_duration_since(began).as_millis();
        let mut gone = None;
        let mut outside = 0;
        loop {
            match self.reach(target, until).await? {
                Ok(stream) => {
                    let too_late =
                        |_| ProxyError::TargetTimeout(format!("no TLS session with {target} within {limit} ms"));
                    return timeout_at(until, self.open(target, stream)).await.map_err(too_late)?;
                }
                Err(DialError::Refused(error)) => {
                    return Err(ProxyError::TargetUnreachable(format!(
                        "{target} cannot be reached: {error}"
                    )));
                }
                // What little was left for the last dial says nothing of the target where tailscaled, or the target's place
                // in the tailnet, was gone before.
                Err(DialError::TimedOut(_)) => {
                    return Err(gone.unwrap_or_else(|| {
                        ProxyError::TargetTimeout(format!("no connection to {target} within {limit} ms"))
                    }));
                }
                // Asked again, the extension says why.
                Err(error @ DialError::Outside { .. }) => {
                    let error = ProxyError::TargetNotAllowed(error.to_string());
                    outside += 1;
                    if outside == MOST_OUTSIDE {
                        return Err(error);
                    }
                    gone = Some(error);
                }
                Err(error @ DialError::NoSocks(_)) => {
                    let error = ProxyError::TailnetUnavailable(error.to_string());
                    if remaining(until) <= NOTICE_PAUSE {
                        return Err(error);
                    }
                    gone = Some(error);
                    sleep(NOTICE_PAUSE).await;
                }
            }
        }
    }

    /// Has the extension look after the tailnet, as it does before each dial: for a connection that slept.
    pub async fn look(&self, target: &Target, end: Instant) -> Result<(), ProxyError> {
        let until = end.min(Instant::now() + self.config.connect_timeout);
        self.destination(target, remaining(until)).await.map(drop)
    }

    /// Has the extension look after the tailnet though nothing is to be dialled: a tailnet on its way up is waited for as
    /// long as for a connection, and until `end` at most.
    pub async fn keep_alive(&self, end: Instant) -> Result<(), ProxyError> {
        let wait_ms = milliseconds(remaining(end).min(self.config.connect_timeout));
        match self.ask(&Ask::Path { wait_ms }).await? {
            Verdict::Unavailable { message } => Err(ProxyError::TailnetUnavailable(message)),
            _ => Ok(()),
        }
    }

    /// What a broken connection means: the target's doing, or the end of tailscaled itself.
    pub async fn why_broken(&self, target: &Target, error: &hyper::Error) -> ProxyError {
        match self.destination(target, Duration::ZERO).await {
            Err(error @ ProxyError::TailnetUnavailable(_)) => error,
            _ => ProxyError::TargetUnreachable(format!("the connection to {target} broke: {}", chain(error))),
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

    /// Asks the extension, and dials what it says. While it looks at the path after a freeze, a dial is tried already: one
    /// that gets through has proved the path, and takes its round trip together with the look.
    async fn reach(&self, target: &Target, until: Instant) -> Result<Result<TcpStream, DialError>, ProxyError> {
        let ask = question(target, remaining(until), true);
        let mut answers = Answers::to(&ask, &self.config).await?;
        let mut answer = answers.next().await?;
        if let Verdict::Provisional { addresses, sources } = answer {
            let destination = Destination {
                addresses,
                port: target.port,
                sources,
                settling: false,
            };
            let mut early = pin!(self.dial(&destination, until));
            let mut failed = false;
            answer = select! {
                biased;
                dialled = &mut early => match dialled {
                    Ok(stream) => return Ok(Ok(stream)),
                    // Over a path that may have been dead this says nothing.
                    Err(_) => {
                        failed = true;
                        answers.next().await?
                    }
                },
                answer = answers.next() => answer?,
            };
            if !failed && matches!(answer, Verdict::Go { anew: false, .. }) {
                return Ok(early.await);
            }
        }
        let destination = self.judge(target, answer)?;
        Ok(self.dial(&destination, until).await)
    }

    async fn dial(&self, destination: &Destination, until: Instant) -> Result<TcpStream, DialError> {
        let hung = self.hung(destination);
        self.dialler.dial(destination, remaining(until), hung).await
    }

    /// Asks the extension whether `target` may be dialled, and where; waits for a tailnet that is on its way up.
    async fn destination(&self, target: &Target, wait: Duration) -> Result<Destination, ProxyError> {
        let answer = self.ask(&question(target, wait, false)).await?;
        self.judge(target, answer)
    }

    /// What an answer means for a dial to `target`.
    fn judge(&self, target: &Target, answer: Verdict) -> Result<Destination, ProxyError> {
        match answer {
            Verdict::Go {
                addresses,
                sources,
                settling,
                ready_ms,
                ..
            } if !addresses.is_empty() => {
                self.tailnet_ready.get_or_init(|| Duration::from_millis(ready_ms));
                Ok(Destination {
                    addresses,
                    port: target.port,
                    sources,
                    settling,
                })
            }
            Verdict::Go { .. } => Err(ProxyError::Internal(format!("no address was found for {target}"))),
            Verdict::NotAllowed { message } => Err(ProxyError::TargetNotAllowed(message)),
            Verdict::UnknownName { message } => Err(ProxyError::TargetUnreachable(message)),
            Verdict::Unavailable { message } => Err(ProxyError::TailnetUnavailable(message)),
            Verdict::Alive | Verdict::Provisional { .. } => Err(ProxyError::Internal(format!(
                "no word came of whether {target} may be dialled"
            ))),
        }
    }

    /// Has the extension look at the way to what is dialled.
    async fn hung(&self, destination: &Destination) {
        let address = destination.addresses[0];
        let looked = status::ask(&self.config.status_socket, &Ask::Hung { address }, HUNG_LIMIT).await;
        if let Err(error) = looked {
            tracing::debug!("a dial to {address} hangs, and the extension does not look at it: {error}");
        }
    }

    async fn ask(&self, ask: &Ask) -> Result<Verdict, ProxyError> {
        Answers::to(ask, &self.config).await?.next().await
    }
}

fn question(target: &Target, wait: Duration, early: bool) -> Ask {
    let host = match &target.host {
        Host::Address(address) => address.to_string(),
        Host::Name(name) => name.clone(),
    };
    Ask::Target {
        host,
        wait_ms: milliseconds(wait),
        early,
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn remaining(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
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

fn chain(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
