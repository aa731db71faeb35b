//! Opens a connection to a host in the tailnet: asks for a route, dials it, and has the path verified meanwhile.
//!
//! After a pause a new connection so takes two round trips, and not three; and a dial that gets through before the path
//! is verified has proved the path itself.

use std::{io, net::IpAddr, pin::pin, time::Duration};

use thiserror::Error;
use tokio::{
    net::TcpStream,
    select,
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use crate::dial::{Destination, DialError, Dialed, Dialer, Refusals, hedge_pause};

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
    /// The path to the first address was proved a moment ago: it is verified only where a dial shows no connection.
    pub verified: bool,
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
    /// The route that led there. Over another generation of its path the connection may be dead, and not show it.
    pub route: Route,
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
            Attempt::Connected(Dialed { stream, address }) => {
                return Ok(Connected { stream, address, route });
            }
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
    Connected(Dialed<S>),
    /// The path was made anew meanwhile: what was dialled over the old one is lost.
    PathChanged,
    Failed(DialError),
}

/// Dials the addresses of `route` and has the path there verified: at the same time, or, if it was proved a moment ago,
/// where the dial is refused, or takes as long as one that is hedged. (It may have died since, with tailscaled itself.)
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
    let refused = Notify::new();
    let mut verify = pin!(async {
        if route.verified {
            drop(timeout(hedge_pause(route.round_trip), refused.notified()).await);
        }
        router.verify(first, deadline).await
    });
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
    refused.notify_one();
    match dialed {
        Ok(dialed) => Ok(Attempt::Connected(dialed)),
        // Over a path that may have been dead a refusal says nothing.
        Err(DialError::Refused(_)) if !verified && verify.await? != route.path => Ok(Attempt::PathChanged),
        Err(error) => Ok(Attempt::Failed(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        collections::VecDeque,
        sync::{
            Mutex,
            atomic::{AtomicU64, Ordering::Relaxed},
        },
    };

    use super::*;

    const ADDRESS: &str = "100.64.0.2";
    const LIMIT: Duration = Duration::from_secs(5);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn unavailable(code: &str) -> RouteError {
        RouteError::Unavailable {
            code: code.into(),
            message: "m".into(),
            retry_after: None,
        }
    }

    /// Routes to one address; the path's generation and how long a verification takes come from the test.
    struct Scripted {
        path: AtomicU64,
        routes: AtomicU64,
        /// What the verifications find; none ends once these are used up.
        verifications: Mutex<Script<Result<u64, RouteError>>>,
        stalls: AtomicU64,
        /// What the routes say of the path.
        verified: bool,
    }

    impl Scripted {
        fn new(verifications: impl IntoIterator<Item = (u64, Result<u64, RouteError>)>) -> Self {
            Self {
                path: AtomicU64::new(1),
                routes: AtomicU64::new(0),
                verifications: Mutex::new(verifications.into_iter().collect()),
                stalls: AtomicU64::new(0),
                verified: false,
            }
        }
    }

    impl Router for Scripted {
        async fn route(&self, _: &str, _: Instant) -> Result<Route, RouteError> {
            self.routes.fetch_add(1, Relaxed);
            match self.path.load(Relaxed) {
                0 => Err(unavailable("NotRunning")),
                path => Ok(Route {
                    addresses: vec![ADDRESS.parse().unwrap()],
                    sources: None,
                    path,
                    round_trip: Some(ms(30)),
                    just_joined: false,
                    ready: ms(45),
                    verified: self.verified,
                }),
            }
        }

        async fn verify(&self, _: IpAddr, _: Instant) -> Result<u64, RouteError> {
            let next = self.verifications.lock().unwrap().pop_front();
            let Some((after, outcome)) = next else {
                return std::future::pending().await;
            };
            sleep(ms(after)).await;
            if let Ok(path) = outcome {
                self.path.store(path, Relaxed);
            }
            outcome
        }

        async fn stalled(&self, _: IpAddr, _: Instant) {
            self.stalls.fetch_add(1, Relaxed);
        }
    }

    /// After how many milliseconds something ends, and how.
    type Script<T> = VecDeque<(u64, T)>;

    /// Dials that end as the test says. The stream is the dial's number.
    struct Dials(Mutex<(usize, Script<Result<(), DialError>>)>);

    impl Dials {
        fn new(dials: impl IntoIterator<Item = (u64, Result<(), DialError>)>) -> Self {
            Self(Mutex::new((0, dials.into_iter().collect())))
        }
    }

    impl Dial for Dials {
        type Stream = usize;

        async fn dial(
            &self,
            destination: &Destination,
            deadline: Instant,
            _: impl Future<Output = ()> + Send,
        ) -> Result<Dialed<usize>, DialError> {
            let (number, next) = {
                let mut dials = self.0.lock().unwrap();
                dials.0 += 1;
                (dials.0, dials.1.pop_front())
            };
            let dial = async {
                let Some((after, outcome)) = next else {
                    return std::future::pending().await;
                };
                sleep(ms(after)).await;
                outcome.map(|()| Dialed {
                    stream: number,
                    address: destination.addresses[0],
                })
            };
            tokio::time::timeout_at(deadline, dial)
                .await
                .unwrap_or(Err(DialError::TimedOut))
        }
    }

    fn refused() -> Result<(), DialError> {
        Err(DialError::Refused(Refusals(vec![(
            ADDRESS.parse().unwrap(),
            "refused".into(),
        )])))
    }

    fn gone() -> Result<(), DialError> {
        Err(DialError::DaemonGone(io::ErrorKind::ConnectionRefused.into()))
    }

    fn off_tailnet() -> Result<(), DialError> {
        Err(DialError::OffTailnet {
            address: ADDRESS.parse().unwrap(),
            source_address: "192.0.2.2".into(),
        })
    }

    async fn connect(router: &Scripted, dials: &Dials) -> (Result<Connected<usize>, ConnectError>, Duration) {
        let start = Instant::now();
        let outcome = connect_with(router, dials, "db", 80, start + LIMIT).await;
        (outcome, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_path_is_verified_while_the_address_is_dialled() {
        let (router, dials) = (Scripted::new([(30, Ok(1))]), Dials::new([(40, Ok(()))]));
        let (outcome, took) = connect(&router, &dials).await;
        let connected = outcome.unwrap();
        assert_eq!((connected.stream, connected.route.path), (1, 1));
        assert_eq!(took, ms(40));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dial_that_gets_through_first_has_proved_the_path() {
        let (router, dials) = (Scripted::new([(3000, Ok(2))]), Dials::new([(30, Ok(()))]));
        let (outcome, took) = connect(&router, &dials).await;
        assert_eq!((outcome.unwrap().route.path, took), (1, ms(30)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_dialled_over_a_path_that_was_made_anew_is_dropped() {
        let router = Scripted::new([(100, Ok(2)), (0, Ok(2))]);
        let dials = Dials::new([(4000, Ok(())), (30, Ok(()))]);
        let (outcome, took) = connect(&router, &dials).await;
        let connected = outcome.unwrap();
        assert_eq!((connected.stream, connected.route.path, took), (2, 2, ms(130)));
        assert_eq!(router.routes.load(Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_over_an_unverified_path_says_nothing() {
        // One that was proved a moment ago is asked about only then, and not after the pause of a hedge.
        for (verified, begun) in [(false, 0), (true, 10)] {
            let router = |verifications| Scripted {
                verified,
                ..Scripted::new(verifications)
            };
            let dials = Dials::new([(10, refused()), (30, Ok(()))]);
            let (outcome, took) = connect(&router(vec![(100, Ok(2)), (0, Ok(2))]), &dials).await;
            assert_eq!((outcome.unwrap().route.path, took), (2, ms(begun + 130)));
            let (outcome, took) = connect(&router(vec![(100, Ok(1))]), &Dials::new([(10, refused())])).await;
            assert!(matches!(outcome, Err(ConnectError::Refused(_))), "{outcome:?}");
            assert_eq!(took, ms(begun + 100));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_that_was_proved_a_moment_ago_is_verified_only_where_a_dial_hangs() {
        let proved = |verifications| Scripted {
            verified: true,
            ..Scripted::new(verifications)
        };
        let router = proved([(0, Ok(2))]);
        let (outcome, took) = connect(&router, &Dials::new([(199, Ok(()))])).await;
        assert_eq!((outcome.unwrap().route.path, took), (1, ms(199)));
        assert_eq!(router.verifications.lock().unwrap().len(), 1);
        let dials = Dials::new([(5000, Ok(())), (30, Ok(()))]);
        let (outcome, took) = connect(&proved([(100, Ok(2))]), &dials).await;
        assert_eq!((outcome.unwrap().route.path, took), (2, ms(330)));
    }

    #[tokio::test(start_paused = true)]
    async fn why_the_path_cannot_be_verified_is_the_reason() {
        let router = Scripted::new([(100, Err(unavailable("DaemonUnresponsive")))]);
        let (outcome, took) = connect(&router, &Dials::new([])).await;
        assert_eq!(outcome.unwrap_err().to_string(), "DaemonUnresponsive: m");
        assert_eq!(took, ms(100));
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_daemon_is_gone_it_is_asked_again_until_the_router_knows_why() {
        let router = Scripted::new([]);
        let dials = Dials::new([(0, gone()), (0, gone()), (30, Ok(()))]);
        let (outcome, took) = connect(&router, &dials).await;
        assert_eq!((outcome.unwrap().stream, took), (3, ms(70)));
        let router = Scripted::new([]);
        router.path.store(0, Relaxed);
        let (outcome, _) = connect(&router, &dials).await;
        assert_eq!(outcome.unwrap_err().to_string(), "NotRunning: m");
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_stays_away_is_the_reason_at_the_deadline() {
        let dials = Dials::new((0..1000).map(|_| (0, gone())));
        let (outcome, took) = connect(&Scripted::new([]), &dials).await;
        assert!(matches!(outcome, Err(ConnectError::DaemonGone(_))), "{outcome:?}");
        assert!(took <= LIMIT, "{took:?}");
        // And so it is where the last dial had too little time left.
        let dials = Dials::new((0..10).map(|_| (0, gone())));
        let (outcome, took) = connect(&Scripted::new([]), &dials).await;
        assert!(matches!(outcome, Err(ConnectError::DaemonGone(_))), "{outcome:?}");
        assert_eq!(took, LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_leaves_the_tailnet_is_tried_three_times() {
        let dials = Dials::new([(1, off_tailnet()), (1, off_tailnet()), (1, Ok(()))]);
        assert_eq!(connect(&Scripted::new([]), &dials).await.0.unwrap().stream, 3);
        let dials = Dials::new((0..9).map(|_| (1, off_tailnet())));
        let (outcome, took) = connect(&Scripted::new([]), &dials).await;
        assert!(matches!(outcome, Err(ConnectError::OffTailnet(_))), "{outcome:?}");
        assert_eq!(took, ms(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_does_not_respond_times_out() {
        let (outcome, took) = connect(&Scripted::new([(30, Ok(1))]), &Dials::new([])).await;
        assert!(matches!(outcome, Err(ConnectError::TimedOut)), "{outcome:?}");
        assert_eq!(took, LIMIT);
    }
}
