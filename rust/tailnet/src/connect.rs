//! Opens a connection to a host in the tailnet: asks for a route, dials it, and has the path verified meanwhile.
//!
//! After a pause a new connection so takes two round trips, and not three; and a dial that gets through before the path
//! is verified has proved the path itself.

use std::{io, net::IpAddr, pin::pin, time::Duration};

use thiserror::Error;
use tokio::{
    net::TcpStream,
    select,
    time::{Instant, sleep},
};

use crate::dial::{Destination, DialError, Dialed, Dialer, Refusals};

/// The pause before a route is asked for again when tailscaled has just gone and the router has not noticed yet.
const DAEMON_GONE_PAUSE: Duration = Duration::from_millis(20);
/// How many times in a row a connection may turn out to leave the tailnet: while tailscaled drops its sessions it knows no
/// peers for a moment.
const MAX_OFF_TAILNET: usize = 3;

/// Where a connection to a host may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The addresses, in the order to try them; not empty.
    pub addresses: Vec<IpAddr>,
    /// The machine's own addresses in the tailnet, one of which the connection must come from; `None` if it may leave by
    /// the function's own network.
    pub sources: Option<Vec<IpAddr>>,
    /// The generation of the path: see [`protocol::Response::Verified`](crate::protocol::Response::Verified).
    pub path: u64,
    /// The round trip to the first address, if it is known.
    pub round_trip: Option<Duration>,
    /// The tailnet was joined only a moment ago.
    pub just_joined: bool,
    /// How long the environment's login took.
    pub ready: Duration,
}

/// Why there is no route.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RouteError {
    /// The tailnet does not cover the host, or the host is the function itself.
    #[error("{0}")]
    NotAllowed(String),
    /// The tailnet's resolver does not know the name.
    #[error("{0}")]
    UnknownName(String),
    /// The function is not in the tailnet.
    #[error("{code}: {message}")]
    Unavailable {
        /// A stable code for the cause.
        code: String,
        /// What happened, and what fixes it.
        message: String,
        /// When another try may succeed, if that is known.
        retry_after: Option<Duration>,
    },
}

/// Knows the way to hosts, and the state of the path there.
pub trait Router: Sync {
    /// Where a connection to `host` (an IP address or a name) may go; waits for a login under way, and probes nothing.
    fn route(&self, host: &str, deadline: Instant) -> impl Future<Output = Result<Route, RouteError>> + Send;

    /// Returns the path's generation as soon as the path to `address` is known to be good: at once if the peer was heard
    /// lately, after a round trip otherwise, after a repair if the path had died.
    fn verify(&self, address: IpAddr, deadline: Instant) -> impl Future<Output = Result<u64, RouteError>> + Send;

    /// Looks at the session with `address`, because a dial there stalls.
    fn stalled(&self, address: IpAddr, deadline: Instant) -> impl Future<Output = ()> + Send;
}

/// A connection.
#[derive(Debug)]
pub struct Connected<S = TcpStream> {
    /// The connection itself.
    pub stream: S,
    /// The address that it leads to.
    pub address: IpAddr,
    /// The path's generation that it was opened on: over another one it may be dead, and not show it.
    pub path: u64,
    /// How long the environment's login took.
    pub ready: Duration,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// There is no route.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// Each address was refused, by the target or on the way there.
    #[error("{0}")]
    Refused(Refusals),
    /// There was no connection by the deadline.
    #[error("no connection in the time allowed")]
    TimedOut,
    /// The connection would have left by the function's own network: nothing was sent on it.
    #[error("{0}")]
    OffTailnet(String),
    /// tailscaled's SOCKS5 server is gone.
    #[error("tailscaled's SOCKS5 server does not respond: {0}")]
    DaemonGone(io::Error),
}

/// Opens connections to destinations: a [`Dialer`], or what plays one in a test.
trait Dial: Sync {
    type Stream: Send;

    fn dial(
        &self,
        destination: &Destination,
        deadline: Instant,
        stalled: impl Future<Output = ()> + Send,
    ) -> impl Future<Output = Result<Dialed<Self::Stream>, DialError>> + Send;
}

impl Dial for Dialer {
    type Stream = TcpStream;

    fn dial(
        &self,
        destination: &Destination,
        deadline: Instant,
        stalled: impl Future<Output = ()> + Send,
    ) -> impl Future<Output = Result<Dialed, DialError>> + Send {
        self.dial(destination, deadline, stalled)
    }
}

/// Opens a connection to `port` of `host` by `deadline`.
pub async fn connect(
    router: &impl Router,
    dialer: &Dialer,
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<Connected, ConnectError> {
    connect_with(router, dialer, host, port, deadline).await
}

async fn connect_with<D: Dial>(
    router: &impl Router,
    dialer: &D,
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<Connected<D::Stream>, ConnectError> {
    // If an earlier attempt failed because tailscaled or the route was gone, that is reported rather than the time-out of
    // the last, short attempt.
    let mut earlier = None;
    let mut off_tailnet = 0;
    loop {
        let route = router.route(host, deadline).await?;
        match attempt(router, dialer, &route, port, deadline).await? {
            Attempt::Connected(connected) => return Ok(connected),
            Attempt::PathChanged => {}
            Attempt::Failed(DialError::Refused(refusals)) => return Err(ConnectError::Refused(refusals)),
            Attempt::Failed(DialError::TimedOut) => return Err(earlier.unwrap_or(ConnectError::TimedOut)),
            Attempt::Failed(error @ DialError::OffTailnet { .. }) => {
                let error = ConnectError::OffTailnet(error.to_string());
                off_tailnet += 1;
                if off_tailnet == MAX_OFF_TAILNET {
                    return Err(error);
                }
                earlier = Some(error);
            }
            Attempt::Failed(DialError::DaemonGone(error)) => {
                let error = ConnectError::DaemonGone(error);
                if deadline.saturating_duration_since(Instant::now()) <= DAEMON_GONE_PAUSE {
                    return Err(error);
                }
                earlier = Some(error);
                sleep(DAEMON_GONE_PAUSE).await;
            }
        }
    }
}

/// What came of one route.
enum Attempt<S> {
    Connected(Connected<S>),
    /// The path was made anew meanwhile: what was dialled over the old one is lost.
    PathChanged,
    Failed(DialError),
}

/// Dials the addresses of `route` and has the path there verified, at the same time.
async fn attempt<D: Dial>(
    router: &impl Router,
    dialer: &D,
    route: &Route,
    port: u16,
    deadline: Instant,
) -> Result<Attempt<D::Stream>, RouteError> {
    let [first, ..] = route.addresses[..] else {
        return Err(RouteError::UnknownName("the route leads to no address".into()));
    };
    let destination = Destination {
        addresses: route.addresses.clone(),
        port,
        sources: route.sources.clone(),
        round_trip: route.round_trip,
        just_joined: route.just_joined,
    };
    let mut dial = pin!(dialer.dial(&destination, deadline, router.stalled(first, deadline)));
    let mut verify = pin!(router.verify(first, deadline));
    let mut verified = false;
    let dialed = loop {
        select! {
            biased;
            dialed = &mut dial => break dialed,
            path = &mut verify, if !verified => {
                if path? != route.path {
                    return Ok(Attempt::PathChanged);
                }
                verified = true;
            }
        }
    };
    match dialed {
        Ok(Dialed { stream, address }) => Ok(Attempt::Connected(Connected {
            stream,
            address,
            path: route.path,
            ready: route.ready,
        })),
        // Over a path that may have been dead a refusal says nothing.
        Err(DialError::Refused(_)) if !verified && verify.await? != route.path => Ok(Attempt::PathChanged),
        Err(error) => Ok(Attempt::Failed(error)),
    }
}
