//! Whether the link to the tailnet is alive, and how it is brought back after a freeze.
//!
//! While the environment is frozen, the NAT before it forgets its flows, or the other ends close them. tailscaled does
//! not notice for a minute or more: its own clocks stood still. So after a gap by the wall clock, a ping through the
//! tailnet tells whether the flows still live, and only where it stays unanswered is the link broken and made anew.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::IpAddr,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    select,
    sync::Mutex,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    local_api::{LocalApi, LocalApiError},
    ping::{self, PEERS},
    round_trip::RoundTrips,
    secret::Secret,
    sessions::{Control, REST, Sessions},
};

/// A gap below this needs no look: no NAT forgets a flow so soon, and a ping would cost each request its round trip.
/// (RFC 4787 section 4.3 asks for 2 minutes for UDP, RFC 5382 for hours; what is met in practice starts at 5 s.)
const SHORT_GAP: Duration = Duration::from_secs(2);
/// How long the pings that only measure may take.
const LEARNING_PING: Duration = Duration::from_secs(1);
/// How many of them are sent at a time, one after the other: beside a cold start, the first ones are slow.
const LEARNING_PINGS: usize = 3;
/// How long the ping after a renewal may take: a new DERP link is a TCP and a TLS handshake away.
pub(crate) const SECOND_PING: Duration = Duration::from_millis(600);
/// How long those to other peers may take where none of those that were used has answered.
const OTHERS_PING: Duration = Duration::from_millis(250);
/// How many addresses are pinged at once; one answer is enough.
const PINGED: usize = PEERS;
/// How long the daemon may take to begin with a new control client: it takes milliseconds.
const CONTROL_LIMIT: Duration = Duration::from_millis(250);
/// How long a look may take in all. A daemon that takes longer is stuck: the pings have limits of their own. SHUTDOWN may
/// come meanwhile, and leaves 2 s.
const LOOK_LIMIT: Duration = Duration::from_millis(1250);

/// The link between the function and the tailnet. Whoever asks while it is being renewed waits for that.
pub struct Link {
    pub(crate) api: LocalApi,
    pub(crate) state: Mutex<State>,
    /// When something was last known of the link, by the wall clock.
    last_look: std::sync::Mutex<SystemTime>,
    /// How often links or sessions have been made anew.
    renewals: AtomicU64,
    /// What the daemon logged in with.
    key: std::sync::Mutex<Secret>,
}

pub(crate) struct State {
    /// How long pings took over links that were there already.
    pub(crate) round_trips: RoundTrips,
    /// WireGuard's sessions with the addresses that were asked for.
    pub(crate) sessions: Sessions,
    /// Pings through sessions, which began with the last look.
    pub(crate) probes: HashMap<IpAddr, JoinSet<Result<(), LocalApiError>>>,
    /// Somebody is measuring a round trip.
    measuring: bool,
    /// The addresses last asked for, the latest first.
    used: VecDeque<IpAddr>,
    /// When this node joined the tailnet, and the peers that have heard of it since.
    pub(crate) joined: Option<Instant>,
    pub(crate) met: HashSet<IpAddr>,
}

/// What a look at the link found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The last one was a moment ago.
    Recent,
    /// A ping came back.
    Alive,
    /// The links were dead; they are new, and a ping came back.
    Renewed,
    /// The links are new, but no ping came back: those that were pinged may be off, or this machine may be unknown.
    Unanswered {
        /// How long nothing had been known of the link.
        gap: Duration,
    },
}

impl Link {
    /// The link of the daemon behind `api`, taken to be alive.
    pub fn new(api: LocalApi) -> Self {
        let state = State {
            round_trips: RoundTrips::default(),
            sessions: Sessions::default(),
            probes: HashMap::new(),
            measuring: false,
            used: VecDeque::new(),
            joined: None,
            met: HashSet::new(),
        };
        Self {
            api,
            state: Mutex::new(state),
            last_look: std::sync::Mutex::new(SystemTime::now()),
            renewals: AtomicU64::new(0),
            key: std::sync::Mutex::new(Secret::new("")),
        }
    }

    /// The daemon logs in with `key`.
    pub(crate) fn use_key(&self, key: &Secret) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key.clone();
    }

    pub(crate) fn key(&self) -> Secret {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes sure that the link is alive, which came with the login at `login`. Takes a lock's time, or a round trip after
    /// a gap, or under a second where the links had died.
    pub async fn freshen(&self, login: SystemTime) -> Result<Look, LocalApiError> {
        let mut state = self.state.lock().await;
        // A clock that was set back says nothing: look.
        let gap = self.gap(login).unwrap_or(SHORT_GAP);
        let look = if gap < SHORT_GAP {
            Look::Recent
        } else {
            let look = timeout(LOOK_LIMIT, self.look(&mut state, gap)).await;
            look.unwrap_or(Err(LocalApiError::Silent { limit: LOOK_LIMIT }))?
        };
        *self.last_look() = SystemTime::now();
        Ok(look)
    }

    /// Whether the link that came with the login at `login` has rested so long that whatever is sent before a look, and gets
    /// lost, does no harm: then all is made anew.
    pub(crate) fn has_rested(&self, login: SystemTime) -> bool {
        self.gap(login).is_some_and(|gap| gap >= REST)
    }

    /// How often links or sessions have been made anew.
    pub(crate) fn renewals(&self) -> u64 {
        self.renewals.load(Ordering::Relaxed)
    }

    /// Links or sessions are being made anew.
    pub(crate) fn renewing(&self) {
        self.renewals.fetch_add(1, Ordering::Relaxed);
    }

    /// How long nothing has been known of the link; `None` where the clock was set back.
    fn gap(&self, login: SystemTime) -> Option<Duration> {
        let known = (*self.last_look()).max(login);
        SystemTime::now().duration_since(known).ok()
    }

    fn last_look(&self) -> std::sync::MutexGuard<'_, SystemTime> {
        self.last_look.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers an address that was asked for: the next look pings it. While few round trips are known, it is also
    /// pinged beside what it was asked for, so that the next look knows how long a ping takes.
    pub async fn note(self: &Arc<Self>, address: IpAddr) {
        let mut state = self.state.lock().await;
        state.used.retain(|known| *known != address);
        state.used.push_front(address);
        state.used.truncate(PINGED);
        if state.round_trips.few() && !state.measuring {
            state.measuring = true;
            tokio::spawn(Arc::clone(self).measure(address));
        }
    }

    async fn measure(self: Arc<Self>, address: IpAddr) {
        let mut trips = Vec::new();
        for _ in 0..LEARNING_PINGS {
            let trip = timeout(LEARNING_PING, ping::any(&self.api, &[address])).await;
            trips.extend(trip.ok().flatten());
        }
        let mut state = self.state.lock().await;
        state.measuring = false;
        trips.into_iter().for_each(|trip| state.round_trips.learn(trip));
    }

    async fn look(&self, state: &mut State, gap: Duration) -> Result<Look, LocalApiError> {
        if state.used.is_empty() {
            state.used = self.some_peers().await?.into();
        }
        let began = Instant::now();
        let used = state.used.make_contiguous();
        if gap >= REST {
            // What is asked next is whether these sessions live: the answers may come in the same round trip.
            let probe = |address: &IpAddr| (*address, ping::through_session(&self.api, *address));
            state.probes = used.iter().map(probe).collect();
        }
        if let Some(round_trip) = self.first_ping(used, state.round_trips.patience()).await? {
            state.round_trips.learn(round_trip);
            return Ok(Look::Alive);
        }
        let seen = began.elapsed().as_millis();
        state.probes.clear();
        let answered = if gap < REST {
            self.renewing();
            self.api.break_links().await?;
            let answered = self.answered(used).await?;
            self.renew_control().await;
            answered
        } else {
            // Whatever WireGuard sent when its timers rang was lost, and it would not send another for 5 s.
            self.drop_sessions(&mut state.sessions, Control::Renew).await?;
            self.answered(used).await?
        };
        let (gap_s, took) = (gap.as_secs_f64(), began.elapsed().as_millis());
        if answered {
            tracing::info!("the links had died in a gap of {gap_s:.1} s: seen after {seen} ms, new after {took} ms");
            return Ok(Look::Renewed);
        }
        tracing::warn!("no peer answers {took} ms after a gap of {gap_s:.1} s, and with new links");
        Ok(Look::Unanswered { gap })
    }

    /// The connection to the control server has died with the links, and the daemon does not notice that by itself. The path
    /// to peers does not depend on it.
    async fn renew_control(&self) {
        match timeout(CONTROL_LIMIT, self.api.renew_control(&self.key())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the daemon gets no new connection to the control server: {error}"),
            Err(_) => tracing::warn!("the daemon takes long to get a new connection to the control server"),
        }
    }

    /// How long the first ping took, if it came back in time. The wait for it begins when the daemon has answered what it
    /// was asked beside it: how long it takes to wake up on a machine that may be busy says nothing of the link.
    async fn first_ping(&self, used: &[IpAddr], patience: Duration) -> Result<Option<Duration>, LocalApiError> {
        let late = async {
            self.api.awake().await?;
            sleep(patience).await;
            Ok(None)
        };
        select! {
            biased;
            answer = ping::any(&self.api, used) => Ok(answer),
            late = late => late,
        }
    }

    /// Whether anybody answers over links that are new.
    async fn answered(&self, used: &[IpAddr]) -> Result<bool, LocalApiError> {
        let answered = async {
            if ping_within(SECOND_PING, &self.api, used).await {
                return Ok(true);
            }
            // Those that were used may be off: then others tell whether the link is there.
            Ok(ping_within(OTHERS_PING, &self.api, &self.some_peers().await?).await)
        };
        let ((), answered) = tokio::try_join!(self.api.find_paths(), answered)?;
        Ok(answered)
    }

    async fn some_peers(&self) -> Result<Vec<IpAddr>, LocalApiError> {
        Ok(self.api.netmap().await?.online_peers().take(PINGED).collect())
    }
}

async fn ping_within(limit: Duration, api: &LocalApi, addresses: &[IpAddr]) -> bool {
    timeout(limit, ping::any(api, addresses))
        .await
        .is_ok_and(|answer| answer.is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_short_gap_needs_no_look() {
        // There is no daemon behind this socket: a look would fail.
        let link = Link::new(LocalApi::new("/nonexistent/socket".as_ref()));
        assert_eq!(link.freshen(SystemTime::UNIX_EPOCH).await.unwrap(), Look::Recent);
    }

    #[tokio::test]
    async fn a_new_login_needs_none_however_long_it_took() {
        let link = Link::new(LocalApi::new("/nonexistent/socket".as_ref()));
        *link.last_look() = SystemTime::now() - 2 * SHORT_GAP;
        assert_eq!(link.freshen(SystemTime::now()).await.unwrap(), Look::Recent);
    }

    #[tokio::test]
    async fn a_gap_by_the_wall_clock_asks_for_a_look() {
        let link = Link::new(LocalApi::new("/nonexistent/socket".as_ref()));
        *link.last_look() = SystemTime::now() - SHORT_GAP;
        assert!(link.freshen(SystemTime::UNIX_EPOCH).await.is_err());
    }

    #[tokio::test]
    async fn only_after_a_rest_may_a_dial_come_before_the_look() {
        let link = Link::new(LocalApi::new("/nonexistent/socket".as_ref()));
        let now = SystemTime::now();
        for (rest, login, rested) in [
            (Duration::ZERO, SystemTime::UNIX_EPOCH, false),
            (REST / 2, SystemTime::UNIX_EPOCH, false),
            (REST, SystemTime::UNIX_EPOCH, true),
            (REST, now, false),
        ] {
            *link.last_look() = now - rest;
            assert_eq!(link.has_rested(login), rested, "{rest:?}, {login:?}");
        }
        *link.last_look() = now + REST;
        assert!(!link.has_rested(now), "the clock was set back");
    }

    #[tokio::test]
    async fn the_addresses_last_used_are_remembered_once_each() {
        let link = Arc::new(Link::new(LocalApi::new("/nonexistent/socket".as_ref())));
        for last in [1, 2, 3, 2, 4] {
            link.note([100, 64, 0, last].into()).await;
        }
        let used: Vec<IpAddr> = link.state.lock().await.used.iter().copied().collect();
        assert_eq!(used, [4, 2, 3].map(|last| IpAddr::from([100, 64, 0, last])));
    }
}
