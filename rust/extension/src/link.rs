//! Whether the link to the tailnet is alive, and how it is brought back after a freeze.
//!
//! While the environment is frozen, the NAT before it forgets its flows, or the other ends close them. tailscaled does
//! not notice for a minute or more: its own clocks stood still. So after a gap by the wall clock, a ping through the
//! tailnet tells whether the flows still live, and only where it stays unanswered is the link broken and made anew.

use std::{
    collections::{HashSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::local_api::{LocalApi, LocalApiError};

/// A gap below this needs no look: no NAT forgets a flow so soon, and a ping would cost each request its round trip.
/// (RFC 4787 section 4.3 asks for 2 minutes for UDP, RFC 5382 for hours; what is met in practice starts at 5 s.)
const SHORT_GAP: Duration = Duration::from_secs(2);
/// How long the first ping may take where no round trip is known yet.
const FIRST_PING: Duration = Duration::from_millis(100);
/// The bounds of the first ping's time once a round trip is known.
const SHORTEST_PING: Duration = Duration::from_millis(15);
const LONGEST_PING: Duration = Duration::from_millis(250);
/// How long the ping that only measures may take.
const LEARNING_PING: Duration = Duration::from_secs(1);
/// How long the ping after a renewal may take: a new DERP link is a TCP and a TLS handshake away.
const SECOND_PING: Duration = Duration::from_millis(600);
/// How long a peer may take to hear of this node, from the first ping on.
const MEETING_LIMIT: Duration = Duration::from_millis(1500);
/// The pause between two of the pings that wait for that.
const MEETING_PAUSE: Duration = Duration::from_millis(25);
/// How long after this node joined its peers may take to hear by which DERP server it is reached: they answer pings
/// before they know, but their answer to WireGuard's first message is lost.
const INTRODUCTION: Duration = Duration::from_millis(60);
/// How many of the addresses last asked for are pinged at once; one answer is enough.
const PINGED: usize = 3;

/// The link between the function and the tailnet. Whoever asks while it is being renewed waits for that.
pub struct Link {
    api: LocalApi,
    state: Mutex<State>,
}

struct State {
    /// When something was last known of the link, by the wall clock.
    last_look: SystemTime,
    /// The shortest round trip of a ping over links that were there already.
    round_trip: Option<Duration>,
    /// The addresses last asked for, the latest first.
    used: VecDeque<IpAddr>,
    /// When this node joined the tailnet, and the peers that have heard of it since.
    joined: Option<Instant>,
    met: HashSet<IpAddr>,
}

impl State {
    /// The shortest says most: others met a busy moment, or a freeze.
    fn learn(&mut self, round_trip: Duration) {
        tracing::debug!("a ping came back after {:.1} ms", round_trip.as_secs_f64() * 1000.0);
        self.round_trip = Some(self.round_trip.map_or(round_trip, |known| known.min(round_trip)));
    }
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
            last_look: SystemTime::now(),
            round_trip: None,
            used: VecDeque::new(),
            joined: None,
            met: HashSet::new(),
        };
        Self {
            api,
            state: Mutex::new(state),
        }
    }

    /// Makes sure that the link is alive. Takes a lock's time, or a round trip after a gap, or under a second where
    /// the links had died.
    pub async fn freshen(&self) -> Result<Look, LocalApiError> {
        let mut state = self.state.lock().await;
        // A clock that was set back says nothing: look.
        let gap = SystemTime::now().duration_since(state.last_look).unwrap_or(SHORT_GAP);
        let look = if gap < SHORT_GAP {
            Look::Recent
        } else {
            self.look(&mut state, gap).await?
        };
        state.last_look = SystemTime::now();
        Ok(look)
    }

    /// Remembers an address that was asked for: the next look pings it. The first one is pinged at once, beside what it
    /// was asked for, so that the next look knows how long a ping takes.
    pub async fn note(self: &Arc<Self>, address: IpAddr) {
        let mut state = self.state.lock().await;
        let first = state.used.is_empty();
        state.used.retain(|known| *known != address);
        state.used.push_front(address);
        state.used.truncate(PINGED);
        if first {
            let link = Arc::clone(self);
            tokio::spawn(async move {
                if let Some(round_trip) = link.ping(&VecDeque::from([address]), LEARNING_PING).await {
                    link.state.lock().await.learn(round_trip);
                }
            });
        }
    }

    /// Waits, for `limit` at most, until the peer at `address` has heard of this node, which joined at `joined`.
    ///
    /// WireGuard's first message to a peer that does not know its sender is lost, and the next one is sent 5 s later,
    /// whatever is dialled meanwhile. Pings are answered as soon as the peer knows, and leave WireGuard alone.
    pub async fn meet(&self, address: IpAddr, joined: Instant, limit: Duration) {
        {
            let mut state = self.state.lock().await;
            if state.joined != Some(joined) {
                (state.joined, state.met) = (Some(joined), HashSet::new());
            }
            if state.met.contains(&address) {
                return;
            }
        }
        match timeout(limit.min(MEETING_LIMIT), self.ping_until_answered(address)).await {
            Ok(Ok(())) => sleep(INTRODUCTION.saturating_sub(joined.elapsed())).await,
            // Not a peer, or one without pings: nobody to wait for.
            Ok(Err(error)) => return tracing::debug!("{address} cannot be pinged: {error}"),
            Err(_) => return tracing::debug!("{address} answers no ping: it may be off"),
        }
        self.state.lock().await.met.insert(address);
    }

    /// Sends one ping after the other, and waits for an answer to any of them.
    async fn ping_until_answered(&self, address: IpAddr) -> Result<(), LocalApiError> {
        let mut pings = JoinSet::new();
        loop {
            let api = self.api.clone();
            pings.spawn(async move { api.ping(address).await });
            match timeout(MEETING_PAUSE, pings.join_next()).await {
                Ok(Some(Ok(outcome))) => return outcome,
                Ok(Some(Err(error))) => tracing::error!("a ping was lost: {error}"),
                Ok(None) | Err(_) => {}
            }
        }
    }

    async fn look(&self, state: &mut State, gap: Duration) -> Result<Look, LocalApiError> {
        if state.used.is_empty() {
            state.used = self.api.netmap().await?.online_peers().take(PINGED).collect();
        }
        let limit = first_limit(state.round_trip);
        if let Some(round_trip) = self.ping(&state.used, limit).await {
            state.learn(round_trip);
            return Ok(Look::Alive);
        }
        let began = Instant::now();
        self.api.renew_links().await?;
        let answer = self.ping(&state.used, SECOND_PING).await;
        let (seconds, ms) = (gap.as_secs_f64(), began.elapsed().as_millis());
        match answer {
            Some(_) => {
                tracing::info!("the links had died in a gap of {seconds:.1} s; they are new after {ms} ms");
                Ok(Look::Renewed)
            }
            None => {
                tracing::warn!("no peer answers {ms} ms after a gap of {seconds:.1} s and with new links");
                Ok(Look::Unanswered { gap })
            }
        }
    }

    /// Pings all of `addresses` at once, and takes the first answer.
    async fn ping(&self, addresses: &VecDeque<IpAddr>, limit: Duration) -> Option<Duration> {
        let mut pings = JoinSet::new();
        for address in addresses.iter().copied() {
            let api = self.api.clone();
            pings.spawn(async move {
                let began = Instant::now();
                api.ping(address).await.map(|()| began.elapsed())
            });
        }
        let first = async {
            while let Some(ping) = pings.join_next().await {
                match ping {
                    Ok(Ok(round_trip)) => return Some(round_trip),
                    Ok(Err(error)) => tracing::debug!("a ping failed: {error}"),
                    Err(error) => tracing::error!("a ping was lost: {error}"),
                }
            }
            None
        };
        timeout(limit, first).await.ok().flatten()
    }
}

/// Four round trips and a little for the scheduler: a ping that takes longer has most likely met a dead link.
fn first_limit(round_trip: Option<Duration>) -> Duration {
    round_trip.map_or(FIRST_PING, |time| {
        (time * 4 + SHORTEST_PING).clamp(SHORTEST_PING, LONGEST_PING)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_short_gap_needs_no_look() {
        // There is no daemon behind this socket: a look would fail.
        let link = Link::new(LocalApi::new("/nonexistent/socket".as_ref()));
        assert_eq!(link.freshen().await.unwrap(), Look::Recent);
    }

    #[tokio::test]
    async fn a_gap_by_the_wall_clock_asks_for_a_look() {
        let link = Link::new(LocalApi::new("/nonexistent/socket".as_ref()));
        link.state.lock().await.last_look = SystemTime::now() - SHORT_GAP;
        assert!(link.freshen().await.is_err());
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

    #[test]
    fn the_first_ping_waits_as_long_as_the_link_makes_it() {
        assert_eq!(first_limit(None), FIRST_PING);
        assert_eq!(first_limit(Some(Duration::from_millis(1))), Duration::from_millis(19));
        assert_eq!(first_limit(Some(Duration::from_secs(1))), LONGEST_PING);
    }
}
