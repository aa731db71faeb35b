//! Connections to what clients ask for: checked, waited for, repaired and dialled as the proxy's own are.

use std::{io, net::IpAddr, time::Duration};

use tailnet::{
    connect::{ConnectError, Connected, RouteError, Router, connect},
    dial::Dialer,
};
use thiserror::Error;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_socks::tcp::Socks5Stream;

use crate::{doors::config::OutboundConfig, policy::Uncovered, preflight::Preflight};

/// How long a connection may take, the wait for a login under way included: as long as the proxy gives it.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long tailscaled may take for a target that the tailnet does not cover: it gives a dial 5 s itself.
pub(crate) const DAEMON_LIMIT: Duration = Duration::from_secs(6);

/// Opens connections. Clones share the tailnet and the bounds.
#[derive(Clone)]
pub(crate) struct Outbound {
    preflight: Preflight,
    dialer: Dialer,
    config: OutboundConfig,
}

/// Where a request leads.
pub(crate) enum Exit {
    /// Into the tailnet, over a connection that is there.
    Tailnet(Connected),
    /// Out by the function's own network, which tailscaled's server does.
    OwnNetwork,
}

/// A connection to a target.
pub(crate) struct Upstream {
    pub(crate) stream: TcpStream,
    /// The path's generation that it was opened on; `None` if it leads out by the function's own network.
    pub(crate) path: Option<u64>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    /// The target is the function itself, or the tailnet does not cover it and must.
    #[error("{0}")]
    NotAllowed(String),
    /// Nobody knows the name.
    #[error("{0}")]
    UnknownName(String),
    /// The target, or something on the way there, refused the connection.
    #[error("{0}")]
    Refused(String),
    /// The function is not in the tailnet.
    #[error("{0}")]
    Unavailable(String),
    /// There was no connection in time.
    #[error("no connection within {} s", .0.as_secs())]
    TimedOut(Duration),
}

impl Outbound {
    pub(crate) fn new(preflight: &Preflight, config: OutboundConfig) -> Self {
        Self {
            preflight: preflight.with_policy(config.uncovered),
            dialer: Dialer::new(config.daemon),
            config,
        }
    }

    /// Where tailscaled's own server listens.
    pub(crate) fn config(&self) -> &OutboundConfig {
        &self.config
    }

    /// The path's generation.
    pub(crate) fn path(&self) -> u64 {
        self.preflight.path()
    }

    /// Makes sure that the tailnet can be used now.
    pub(crate) async fn ready(&self) -> Result<(), Refusal> {
        let deadline = Instant::now() + CONNECT_LIMIT;
        self.preflight.keep_alive(deadline).await.map(drop).map_err(refusal)
    }

    /// Opens a connection to `host` (an address or a name), or finds that it leads out by the function's own network.
    pub(crate) async fn exit(&self, host: &str, port: u16) -> Result<Exit, Refusal> {
        let deadline = Instant::now() + CONNECT_LIMIT;
        let named = host.parse::<IpAddr>().is_err();
        if named && is_this_machine(host) {
            let reason = "it is the function itself: connect to it without the tailnet";
            return Err(Refusal::NotAllowed(reason.to_owned()));
        }
        match self.preflight.route(host, deadline).await {
            Ok(route) if route.sources.is_none() => return Ok(Exit::OwnNetwork),
            Ok(_) => {}
            // Whatever the tailnet's resolver says of a name, the host's may know it.
            Err(error) if named && self.config.uncovered == Uncovered::Allow && is_of_resolver(&error) => {
                return Ok(Exit::OwnNetwork);
            }
            Err(error) => return Err(refusal(error)),
        }
        match connect(&self.preflight, &self.dialer, host, port, deadline).await {
            Ok(connected) => Ok(Exit::Tailnet(connected)),
            Err(ConnectError::Route(error)) => Err(refusal(error)),
            Err(ConnectError::TimedOut) => Err(Refusal::TimedOut(CONNECT_LIMIT)),
            Err(error @ ConnectError::Refused(_)) => Err(Refusal::Refused(error.to_string())),
            Err(error @ ConnectError::OffTailnet(_)) => Err(Refusal::NotAllowed(error.to_string())),
            Err(error @ ConnectError::DaemonGone(_)) => Err(Refusal::Unavailable(error.to_string())),
        }
    }

    /// Opens a connection to `host`, by whichever way it leads there.
    pub(crate) async fn open(&self, host: &str, port: u16) -> Result<Upstream, Refusal> {
        match self.exit(host, port).await? {
            Exit::Tailnet(connected) => Ok(Upstream {
                stream: connected.stream,
                path: Some(connected.route.path),
            }),
            Exit::OwnNetwork => self.by_own_network(host, port).await,
        }
    }

    /// Has tailscaled resolve the name, where it is one, and connect by the function's own network.
    async fn by_own_network(&self, host: &str, port: u16) -> Result<Upstream, Refusal> {
        let connected = async {
            let stream = TcpStream::connect(self.config.daemon).await?;
            stream.set_nodelay(true)?;
            Socks5Stream::connect_with_socket(stream, (host, port)).await
        };
        match timeout(DAEMON_LIMIT, connected).await {
            Ok(Ok(stream)) => Ok(Upstream {
                stream: stream.into_inner(),
                path: None,
            }),
            Ok(Err(tokio_socks::Error::Io(error))) => Err(daemon_gone(&error)),
            Ok(Err(error)) => Err(Refusal::Refused(not_served(&error.to_string()))),
            Err(_) => Err(Refusal::TimedOut(DAEMON_LIMIT)),
        }
    }
}

/// tailscaled's server is gone.
pub(crate) fn daemon_gone(error: &io::Error) -> Refusal {
    Refusal::Unavailable(format!("tailscaled's SOCKS5 server does not respond: {error}"))
}

/// tailscaled's server found no way out by the function's own network.
pub(crate) fn not_served(detail: &str) -> String {
    format!("the tailnet does not cover it, and tailscaled could not serve it ({detail})")
}

/// Whether the tailnet's resolver does not know a name, or does not answer for it.
fn is_of_resolver(error: &RouteError) -> bool {
    match error {
        RouteError::UnknownName(_) => true,
        RouteError::Unavailable { code, .. } => code == "ResolverSilent",
        RouteError::NotAllowed(_) => false,
    }
}

fn refusal(error: RouteError) -> Refusal {
    let reason = error.to_string();
    match &error {
        RouteError::NotAllowed(_) => Refusal::NotAllowed(reason),
        RouteError::UnknownName(_) => Refusal::UnknownName(reason),
        RouteError::Unavailable { .. } if is_of_resolver(&error) => Refusal::UnknownName(reason),
        RouteError::Unavailable { .. } => Refusal::Unavailable(reason),
    }
}

/// RFC 6761 section 6.3.
fn is_this_machine(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}
