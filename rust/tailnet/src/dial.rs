//! Opens a connection through tailscaled's SOCKS5 server.
//!
//! That server has one reply code for every failure, gives up a dial after 5 s of its own, and hangs now and then: of
//! 3,000 dials in a row to a healthy target 77 hung, and 76 of those got through on a second try (a source port still in
//! TIME-WAIT at the target, it seems). So dials are hedged: another one joins those under way.

use std::{
    collections::VecDeque,
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use thiserror::Error;
use tokio::{
    net::TcpStream,
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_socks::{TargetAddr, tcp::Socks5Stream};

/// The shortest pause before a dial is hedged.
const MIN_HEDGE_PAUSE: Duration = Duration::from_millis(200);
/// The pause in round trips, where the round trip is known: a healthy dial takes one, and a first handshake two more.
const HEDGE_ROUND_TRIPS: u32 = 3;
/// The pauses double up to this long: by then tailscaled has given up on the dial before.
const MAX_HEDGE_PAUSE: Duration = Duration::from_secs(5);
/// After this long without a connection the path may be to blame. (A SYN that was lost is sent again after 1 s.)
const MIN_STALL: Duration = Duration::from_secs(1);
/// The same in round trips.
const STALL_ROUND_TRIPS: u32 = 4;
/// The most dials under way to one destination.
const MAX_UNDER_WAY: usize = 4;
/// The most hedges under way to all destinations: an environment has 1,024 file descriptors.
const MAX_HEDGES: usize = 64;
/// tailscaled gives up on a dial after 5 s: a failure of a dial this old says no more than a hang.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(4);
/// The first pause before a refused dial is tried again just after the tailnet was joined; it doubles each time.
const FIRST_RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How many times a refused dial is tried again just after the tailnet was joined: 620 ms in all.
const MAX_RETRIES: u32 = 5;

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum DialError {
    /// tailscaled's SOCKS5 server is gone: nothing listens on its port, or it broke the dialog off.
    #[error("tailscaled's SOCKS5 server does not respond: {0}")]
    DaemonGone(io::Error),
    /// Each address was refused, by the target or on the way there.
    #[error("{0}")]
    Refused(Refusals),
    /// tailscaled opened it over the function's own network, because nothing in the tailnet covers the address any more.
    /// Nothing was sent on it.
    #[error(
        "the connection to {address} came from {source_address}, which is not an address of this machine in the tailnet"
    )]
    OffTailnet {
        /// What was dialled.
        address: IpAddr,
        /// Where the connection came from.
        source_address: String,
    },
    /// There was no connection by the deadline.
    #[error("no connection in the time allowed")]
    TimedOut,
}

/// The last verdict on each address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals(pub Vec<(IpAddr, String)>);

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [(_, reason)] = &self.0[..] else {
            let each: Vec<_> = self
                .0
                .iter()
                .map(|(address, why)| format!("{address}: {why}"))
                .collect();
            return f.write_str(&each.join("; "));
        };
        f.write_str(reason)
    }
}

/// What to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The addresses, in the order to try them; not empty.
    pub addresses: Vec<IpAddr>,
    /// The port.
    pub port: u16,
    /// The machine's own addresses in the tailnet, one of which a connection must come from: what the tailnet does not
    /// cover when it is dialled, tailscaled dials over the function's own network. `None` where it may.
    pub sources: Option<Vec<IpAddr>>,
    /// The round trip to the first address, if it is known.
    pub round_trip: Option<Duration>,
    /// The tailnet was joined only a moment ago: a dial that is refused at once is tried again.
    pub just_joined: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Dialed<S = TcpStream> {
    /// The connection itself.
    pub stream: S,
    /// The address that it leads to.
    pub address: IpAddr,
}

/// Opens connections. Clones share the bound on hedges.
#[derive(Debug, Clone)]
pub struct Dialer {
    socks: SocketAddr,
    hedges: Arc<Semaphore>,
}

impl Dialer {
    /// Dials through the SOCKS5 server at `socks`.
    pub fn new(socks: SocketAddr) -> Self {
        Self {
            socks,
            hedges: Arc::new(Semaphore::new(MAX_HEDGES)),
        }
    }

    /// Opens a connection to `destination` by `deadline`. If there is none after a while, `stalled` runs once beside the
    /// dials: it may mend the path.
    pub async fn dial(
        &self,
        destination: &Destination,
        deadline: Instant,
        stalled: impl Future<Output = ()> + Send,
    ) -> Result<Dialed, DialError> {
        let open = |address| -> BoxFuture<'_, _> {
            let target = SocketAddr::new(address, destination.port);
            Box::pin(open(self.socks, target, destination.sources.as_deref()))
        };
        let race = Race::new(destination, Arc::clone(&self.hedges), open).run(stalled);
        timeout_at(deadline, race).await.unwrap_or(Err(DialError::TimedOut))
    }
}

/// How one dial ended.
#[derive(Debug)]
enum DialFailure {
    /// The SOCKS5 server replied with a failure.
    Refused(String),
    /// No other dial would fare better.
    Fatal(DialError),
}

/// Opens one connection.
async fn open(socks: SocketAddr, target: SocketAddr, sources: Option<&[IpAddr]>) -> Result<TcpStream, DialFailure> {
    let gone = |error| DialFailure::Fatal(DialError::DaemonGone(error));
    let stream = TcpStream::connect(socks).await.map_err(gone)?;
    stream.set_nodelay(true).map_err(gone)?;
    let stream = match Socks5Stream::connect_with_socket(stream, target).await {
        Ok(stream) => stream,
        Err(tokio_socks::Error::Io(error)) => return Err(gone(error)),
        Err(error) => return Err(DialFailure::Refused(error.to_string())),
    };
    // RFC 1928 section 6: the reply names the address that the server connects from (BND.ADDR).
    let source = match stream.target_addr() {
        TargetAddr::Ip(address) => Some(address.ip()),
        TargetAddr::Domain(..) => None,
    };
    let on_tailnet = sources.is_none_or(|sources| source.is_some_and(|source| sources.contains(&source)));
    if !on_tailnet {
        return Err(DialFailure::Fatal(DialError::OffTailnet {
            address: target.ip(),
            source_address: source.map_or_else(|| "an unknown address".to_owned(), |source| source.to_string()),
        }));
    }
    Ok(stream.into_inner())
}

/// An address and what its dials have come to.
struct Candidate {
    address: IpAddr,
    under_way: usize,
    /// Why the last dial that ended was refused; `None` while none has, or where the last one hung.
    refused: Option<String>,
}

impl Candidate {
    /// Whether another dial may fare better, as far as is known.
    fn is_open(&self) -> bool {
        self.refused.is_none() || self.under_way > 0
    }
}

/// One dial that has ended.
struct Ended<S> {
    candidate: usize,
    took: Duration,
    outcome: Result<S, DialFailure>,
}

/// The dials to one destination.
struct Race<'a, S, F> {
    open: F,
    hedges: Arc<Semaphore>,
    candidates: Vec<Candidate>,
    /// The candidates, in the order in which they are dialled next.
    turns: VecDeque<usize>,
    under_way: FuturesUnordered<BoxFuture<'a, Ended<S>>>,
    hedge_pause: Duration,
    stall_after: Duration,
    retries_left: u32,
}

impl<'a, S, F> Race<'a, S, F>
where
    S: Send + 'a,
    F: Fn(IpAddr) -> BoxFuture<'a, Result<S, DialFailure>>,
{
    fn new(destination: &Destination, hedges: Arc<Semaphore>, open: F) -> Self {
        let round_trip = destination.round_trip.unwrap_or_default();
        let candidate = |address: &IpAddr| Candidate {
            address: *address,
            under_way: 0,
            refused: None,
        };
        Self {
            open,
            hedges,
            candidates: destination.addresses.iter().map(candidate).collect(),
            turns: (0..destination.addresses.len()).collect(),
            under_way: FuturesUnordered::new(),
            hedge_pause: MIN_HEDGE_PAUSE.max(HEDGE_ROUND_TRIPS * round_trip),
            stall_after: MIN_STALL.max(STALL_ROUND_TRIPS * round_trip),
            retries_left: if destination.just_joined { MAX_RETRIES } else { 0 },
        }
    }

    /// Dials until there is a connection, or none can come.
    async fn run(mut self, stalled: impl Future<Output = ()> + Send) -> Result<Dialed<S>, DialError> {
        let stall_after = self.stall_after;
        let mut stalled = pin!(async {
            sleep(stall_after).await;
            stalled.await;
        });
        let mut stall_reported = false;
        let mut hedge = pin!(sleep(self.hedge_pause));
        self.dial_next(Duration::ZERO, None);
        loop {
            select! {
                Some(ended) = self.under_way.next() => {
                    if let Some(outcome) = self.settle(ended) {
                        return outcome;
                    }
                }
                () = &mut hedge => {
                    self.hedge();
                    self.hedge_pause = (self.hedge_pause * 2).min(MAX_HEDGE_PAUSE);
                    hedge.as_mut().reset(Instant::now() + self.hedge_pause);
                }
                () = &mut stalled, if !stall_reported => stall_reported = true,
            }
        }
    }

    /// Lets another dial join those under way, unless there are too many.
    fn hedge(&mut self) {
        if self.under_way.len() < MAX_UNDER_WAY
            && let Ok(permit) = Arc::clone(&self.hedges).try_acquire_owned()
        {
            self.dial_next(Duration::ZERO, Some(permit));
        }
    }

    /// Dials the next open address (just after the tailnet was joined, a refusal does not close one), or the next one
    /// where none is open; `permit` is held while the dial lasts.
    fn dial_next(&mut self, pause: Duration, permit: Option<OwnedSemaphorePermit>) {
        let is_open = |turn: &usize| self.retries_left > 0 || self.candidates[*turn].is_open();
        let open = self.turns.iter().position(is_open);
        let Some(turn) = self.turns.remove(open.unwrap_or(0)) else {
            return;
        };
        self.turns.push_back(turn);
        let candidate = &mut self.candidates[turn];
        candidate.under_way += 1;
        let (open, start) = ((self.open)(candidate.address), Instant::now() + pause);
        self.under_way.push(Box::pin(async move {
            let _permit = permit;
            sleep_until(start).await;
            Ended {
                candidate: turn,
                outcome: open.await,
                took: start.elapsed(),
            }
        }));
    }

    /// Takes note of how a dial ended. Returns how all ends, if that is known now.
    fn settle(&mut self, ended: Ended<S>) -> Option<Result<Dialed<S>, DialError>> {
        let candidate = &mut self.candidates[ended.candidate];
        candidate.under_way -= 1;
        match ended.outcome {
            Ok(stream) => {
                let address = candidate.address;
                return Some(Ok(Dialed { stream, address }));
            }
            Err(DialFailure::Fatal(error)) => return Some(Err(error)),
            Err(DialFailure::Refused(reason)) => {
                candidate.refused = (ended.took < DAEMON_TIMEOUT).then_some(reason);
            }
        }
        if self.candidates.iter().any(Candidate::is_open) {
            self.dial_idle();
            return None;
        }
        if self.retries_left > 0 {
            let pause = FIRST_RETRY_PAUSE * 2u32.pow(MAX_RETRIES - self.retries_left);
            self.retries_left -= 1;
            self.dial_next(pause, None);
            return None;
        }
        let refused = |candidate: &mut Candidate| Some((candidate.address, candidate.refused.take()?));
        let refusals = self.candidates.iter_mut().filter_map(refused).collect();
        Some(Err(DialError::Refused(Refusals(refusals))))
    }

    /// After a failure, an open address that nobody dials is dialled at once, and so is any when no dial is left.
    fn dial_idle(&mut self) {
        let idle = |candidate: &Candidate| candidate.refused.is_none() && candidate.under_way == 0;
        let turn = self.turns.iter().position(|turn| idle(&self.candidates[*turn]));
        if let Some(turn) = turn
            && self.under_way.len() < MAX_UNDER_WAY
        {
            self.turns.rotate_left(turn);
            self.dial_next(Duration::ZERO, None);
        }
    }
}
