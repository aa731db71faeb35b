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
/// A hedge comes after twice the time of the one before, or after this long: by then tailscaled has given up on the dial
/// before.
const MAX_HEDGE_PAUSE: Duration = Duration::from_secs(5);
/// After this long without a connection the path may be to blame. (A SYN that was lost is sent again after 1 s.)
const MIN_STALL: Duration = Duration::from_secs(1);
/// The same in round trips.
const STALL_ROUND_TRIPS: u32 = 4;
/// The most dials under way to one destination, beside the one that follows a stall's repair.
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
    /// dials: it may mend the path, so another dial follows its end.
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

/// How long a dial may take before another one joins it.
pub(crate) fn hedge_pause(round_trip: Option<Duration>) -> Duration {
    MIN_HEDGE_PAUSE.max(HEDGE_ROUND_TRIPS * round_trip.unwrap_or_default())
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
            hedge_pause: hedge_pause(destination.round_trip),
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
        let mut pause = self.hedge_pause;
        let mut hedge = pin!(sleep(pause));
        self.dial_next(Duration::ZERO, None);
        loop {
            select! {
                Some(ended) = self.under_way.next() => {
                    if let Some(outcome) = self.settle(ended) {
                        return outcome;
                    }
                }
                () = &mut hedge => {
                    self.hedge(MAX_UNDER_WAY);
                    hedge.as_mut().reset(Instant::now() + pause);
                    pause = (pause * 2).min(MAX_HEDGE_PAUSE);
                }
                () = &mut stalled, if !stall_reported => {
                    stall_reported = true;
                    self.hedge(MAX_UNDER_WAY + 1);
                }
            }
        }
    }

    /// Lets another dial join those under way, up to `most` of them.
    fn hedge(&mut self, most: usize) {
        if self.under_way.len() < most
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
            // A timer takes up to a millisecond more than it is given: none is set where there is nothing to wait for.
            if !pause.is_zero() {
                sleep_until(start).await;
            }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{future::pending, sync::Mutex};

    use futures_util::FutureExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const V4: &str = "100.64.0.2";
    const V6: &str = "fd7a:115c:a1e0::2";
    const LIMIT: Duration = Duration::from_secs(30);

    /// What a dial does.
    #[derive(Clone, Copy)]
    enum Dial {
        /// Connects after so many milliseconds.
        Connect(u64),
        /// Is refused after so many milliseconds.
        Refuse(u64),
        /// Nothing comes back: tailscaled gives up after 5 s.
        Hang,
    }
    use Dial::{Connect, Hang, Refuse};

    /// The dials that were made: to which address, and when.
    type Dials = Vec<(IpAddr, u64)>;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn destination(addresses: &[&str]) -> Destination {
        Destination {
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            port: 80,
            sources: None,
            round_trip: None,
            just_joined: false,
        }
    }

    /// Dials `destination`, where `script` decides what becomes of each dial, by its number, its address and its time.
    async fn race(
        destination: &Destination,
        script: impl Fn(usize, IpAddr, u64) -> Dial + Sync,
    ) -> (Result<IpAddr, DialError>, u64, Dials) {
        let hedges = Arc::new(Semaphore::new(MAX_HEDGES));
        race_with(destination, hedges, pending(), script).await
    }

    async fn race_with(
        destination: &Destination,
        hedges: Arc<Semaphore>,
        stalled: impl Future<Output = ()> + Send,
        script: impl Fn(usize, IpAddr, u64) -> Dial + Sync,
    ) -> (Result<IpAddr, DialError>, u64, Dials) {
        let start = Instant::now();
        let elapsed = move || u64::try_from(start.elapsed().as_millis()).unwrap();
        let dials = Mutex::new(Dials::new());
        let open = |address: IpAddr| -> BoxFuture<'_, Result<(), DialFailure>> {
            let (dials, script) = (&dials, &script);
            Box::pin(async move {
                let number = {
                    let mut dials = dials.lock().unwrap();
                    dials.push((address, elapsed()));
                    dials.len() - 1
                };
                let (after, outcome) = match script(number, address, elapsed()) {
                    Connect(after) => (after, Ok(())),
                    Refuse(after) => (after, Err(DialFailure::Refused("connection refused".into()))),
                    Hang => (5000, Err(DialFailure::Refused("general failure".into()))),
                };
                sleep(ms(after)).await;
                outcome
            })
        };
        let race = Race::new(destination, hedges, open).run(stalled);
        let outcome = tokio::time::timeout(LIMIT, race).await;
        let outcome = outcome.unwrap_or(Err(DialError::TimedOut)).map(|dialed| dialed.address);
        let took = elapsed();
        let dials = dials.lock().unwrap().clone();
        (outcome, took, dials)
    }

    fn times(dials: &Dials) -> Vec<u64> {
        dials.iter().map(|(_, at)| *at).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_counted_and_not_dials() {
        let script = [Hang, Refuse(1), Hang, Refuse(1), Connect(1)];
        let (outcome, _, dials) = race(&destination(&[V4, V6]), |number, _, _| script[number]).await;
        assert_eq!(outcome.unwrap(), V4.parse::<IpAddr>().unwrap());
        let to_v6 = dials
            .iter()
            .filter(|(address, _)| *address == V6.parse::<IpAddr>().unwrap());
        assert_eq!(to_v6.count(), 1, "a refused address is dialled once: {dials:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_on_ipv4_alone_whose_syns_are_lost_for_a_while_is_reached() {
        let lost_for_800_ms = |_, address: IpAddr, at| match address {
            IpAddr::V6(_) => Refuse(1),
            IpAddr::V4(_) if at < 800 => Hang,
            IpAddr::V4(_) => Connect(1),
        };
        for addresses in [[V4, V6], [V6, V4]] {
            let (outcome, took, dials) = race(&destination(&addresses), lost_for_800_ms).await;
            assert_eq!(outcome.unwrap(), V4.parse::<IpAddr>().unwrap());
            assert!(took < 1500, "{took}: {dials:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_every_address_refuses_is_refused_at_once_and_told_by_address() {
        let (outcome, took, dials) = race(&destination(&[V4, V6]), |_, _, _| Refuse(1)).await;
        let error = outcome.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{V4}: connection refused; {V6}: connection refused")
        );
        assert_eq!((took, dials.len()), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_refused_only_when_no_dial_is_under_way_there() {
        let script = |number, _, _| if number == 0 { Hang } else { Refuse(1) };
        let (outcome, took, dials) = race(&destination(&[V4]), script).await;
        assert!(matches!(outcome, Err(DialError::Refused(_))), "{outcome:?}");
        // The first dial ended with tailscaled's time-out, which refuses nothing; another one was refused after it.
        assert_eq!(took, 5001, "{dials:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_comes_up_after_12_s_is_reached() {
        for addresses in [&[V4][..], &[V4, V6]] {
            // A SYN that is sent while the target is down is lost; tailscaled's TCP sends it again after 1 and 3 s.
            let up_at_12_s = |_, _, at| match [0, 1000, 3000].iter().find(|again| at + **again >= 12_000) {
                Some(again) => Connect(*again),
                None => Hang,
            };
            let (outcome, took, dials) = race(&destination(addresses), up_at_12_s).await;
            assert!(outcome.is_ok() && took < 14_000, "{outcome:?} after {took}: {dials:?}");
            assert!(dials.len() < 20, "{dials:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_begins_to_refuse_after_12_s_is_refused_then() {
        let refuses_at_12_s = |_, _, at| if at < 12_000 { Hang } else { Refuse(1) };
        let (outcome, took, dials) = race(&destination(&[V4]), refuses_at_12_s).await;
        assert!(matches!(outcome, Err(DialError::Refused(_))), "{outcome:?}");
        assert!((12_000..18_000).contains(&took), "{took}: {dials:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_healthy_dial_makes_one_connection_at_any_distance() {
        for round_trip in [1, 30, 100, 300] {
            let mut destination = destination(&[V4, V6]);
            destination.round_trip = Some(ms(round_trip));
            let (outcome, took, dials) = race(&destination, |_, _, _| Connect(round_trip)).await;
            assert!(outcome.is_ok());
            assert_eq!((took, dials.len()), (round_trip, 1));
            // A first handshake with the peer takes two round trips more.
            let (_, _, dials) = race(&destination, |_, _, _| Connect(round_trip * 5 / 2)).await;
            assert_eq!(dials.len(), 1, "{dials:?}");
        }
    }

    #[tokio::test]
    async fn a_dial_waits_for_no_timer() {
        let open = |_| -> BoxFuture<'_, Result<(), DialFailure>> { Box::pin(async { Ok(()) }) };
        let race = Race::new(&destination(&[V4]), Arc::new(Semaphore::new(0)), open);
        let ended = race.run(pending()).now_or_never();
        assert!(matches!(ended, Some(Ok(_))), "{ended:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn hedges_wait_for_three_round_trips_and_then_twice_as_long_each() {
        let (outcome, _, dials) = race(
            &destination(&[V4]),
            |number, _, _| if number == 3 { Connect(1) } else { Hang },
        )
        .await;
        assert!(outcome.is_ok());
        assert_eq!(times(&dials), [0, 200, 400, 800]);
        let mut far = destination(&[V4]);
        far.round_trip = Some(ms(300));
        let (_, _, dials) = race(&far, |number, _, _| if number == 2 { Connect(1) } else { Hang }).await;
        assert_eq!(times(&dials), [0, 900, 1800]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dial_follows_the_repair_of_a_stall_however_many_hang() {
        for repair in [5, 900] {
            let hedges = Arc::new(Semaphore::new(MAX_HEDGES));
            let repaired_at = 1000 + repair;
            let script = |_, _, at| if at < repaired_at { Hang } else { Connect(1) };
            let repaired = async { sleep(ms(repair)).await };
            let (outcome, took, dials) = race_with(&destination(&[V4]), hedges, repaired, script).await;
            assert!(outcome.is_ok());
            assert_eq!(times(&dials), [0, 200, 400, 800, repaired_at]);
            assert_eq!(took, repaired_at + 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_dials_under_way_are_bounded_by_destination_and_over_all() {
        let (outcome, _, dials) = race(&destination(&[V4, V6]), |_, _, _| Hang).await;
        assert!(matches!(outcome, Err(DialError::TimedOut)), "{outcome:?}");
        for (_, at) in &dials {
            let under_way = dials
                .iter()
                .filter(|(_, begun)| begun <= at && begun + 5000 > *at)
                .count();
            assert!(under_way <= MAX_UNDER_WAY, "{under_way} at {at}: {dials:?}");
        }
        let none = Arc::new(Semaphore::new(0));
        let hang_at_first = |number, _, _| if number == 1 { Connect(1) } else { Hang };
        let (outcome, _, dials) = race_with(&destination(&[V4]), none, pending(), hang_at_first).await;
        assert!(outcome.is_ok());
        assert_eq!(
            times(&dials),
            [0, 5000],
            "no hedge is left, but a dial takes the place of one that ended"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn just_after_the_tailnet_was_joined_a_refused_dial_is_tried_again() {
        let mut fresh = destination(&[V4]);
        fresh.just_joined = true;
        let (outcome, _, dials) = race(&fresh, |number, _, _| if number == 3 { Connect(1) } else { Refuse(0) }).await;
        assert!(outcome.is_ok());
        assert_eq!(times(&dials), [0, 20, 60, 140]);
        let (outcome, _, dials) = race(&fresh, |_, _, _| Refuse(0)).await;
        assert!(matches!(outcome, Err(DialError::Refused(_))));
        assert_eq!(times(&dials)[..6], [0, 20, 60, 140, 200, 300][..], "{dials:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_reported_once_after_a_second_or_four_round_trips() {
        for (round_trip, reported_at) in [(None, 1000), (Some(ms(100)), 1000), (Some(ms(500)), 2000)] {
            let mut destination = destination(&[V4]);
            destination.round_trip = round_trip;
            let start = Instant::now();
            let reports = Mutex::new(Vec::new());
            let hedges = Arc::new(Semaphore::new(MAX_HEDGES));
            let report = async { reports.lock().unwrap().push(start.elapsed()) };
            let (outcome, ..) = race_with(&destination, hedges, report, |_, _, _| Hang).await;
            assert!(matches!(outcome, Err(DialError::TimedOut)));
            let reports = reports.into_inner().unwrap();
            assert!(
                reports.len() == 1 && reports[0].as_millis() == reported_at,
                "{reports:?}"
            );
        }
    }

    /// A SOCKS5 server that opens each connection from `source`, and then sends a byte on it.
    async fn socks_server(source: [u8; 4]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut greeting = [0; 3];
                stream.read_exact(&mut greeting).await.unwrap();
                stream.write_all(&[5, 0]).await.unwrap();
                let mut request = [0; 10];
                stream.read_exact(&mut request).await.unwrap();
                assert_eq!(request, [5, 1, 0, 1, 100, 64, 0, 2, 0, 80]);
                let reply = [&[5, 0, 0, 1][..], &source, &[0, 1, b'x']].concat();
                stream.write_all(&reply).await.unwrap();
                // Nothing may be sent on a connection that is refused.
                let mut sent = Vec::new();
                stream.read_to_end(&mut sent).await.unwrap();
                assert!(sent.is_empty(), "{sent:?}");
            }
        });
        address
    }

    async fn dial_through(socks: SocketAddr) -> Result<Dialed, DialError> {
        let mut destination = destination(&[V4]);
        destination.sources = Some(vec!["100.64.0.1".parse().unwrap()]);
        let deadline = Instant::now() + LIMIT;
        Dialer::new(socks).dial(&destination, deadline, pending()).await
    }

    #[tokio::test]
    async fn a_connection_comes_from_the_machines_own_address_in_the_tailnet() {
        let mut dialed = dial_through(socks_server([100, 64, 0, 1]).await).await.unwrap();
        assert_eq!(dialed.address, V4.parse::<IpAddr>().unwrap());
        assert_eq!(dialed.stream.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_connection_from_another_address_is_off_the_tailnet() {
        let error = dial_through(socks_server([192, 0, 2, 2]).await).await.unwrap_err();
        assert!(matches!(error, DialError::OffTailnet { .. }), "{error:?}");
        assert!(error.to_string().contains("192.0.2.2"), "{error}");
    }

    #[tokio::test]
    async fn a_port_on_which_nobody_listens_means_that_the_daemon_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socks = listener.local_addr().unwrap();
        drop(listener);
        let error = dial_through(socks).await.unwrap_err();
        assert!(matches!(error, DialError::DaemonGone(_)), "{error:?}");
    }

    #[tokio::test]
    async fn a_server_that_breaks_off_means_that_the_daemon_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socks = listener.local_addr().unwrap();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let error = dial_through(socks).await.unwrap_err();
        assert!(matches!(error, DialError::DaemonGone(_)), "{error:?}");
    }
}
