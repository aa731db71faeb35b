//! When WireGuard's session with each address was last of use: after a rest it may be of none, and not notice.
//!
//! WireGuard begins a new session when the old one is 3 minutes old, or when nothing has come back for 15 s. But it
//! sends no two first messages within 5 s, and answering one counts as sending one. A freeze makes it stumble over
//! that: its timers ring while the link is still dead, or it answers what the peer sent minutes ago and has given up.
//! Whoever dials then waits 5 s. Where clocks stand still in a freeze, it takes a session for young that its peer has
//! long forgotten, and that takes 15 s.
//!
//! Dropping all sessions lets the next packet begin a new one at once, but the peer may not take it: one that has just
//! taken a first message drops the next ([`SPACING`]), even if its own answer to that went nowhere. So a new session is
//! not believed in before a ping has come back through it.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::IpAddr,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    select,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    link::{Link, SECOND_PING, State},
    local_api::LocalApiError,
    ping,
};

/// A rest below this cannot harm a session: the first of WireGuard's timers rings after 10 s.
pub(crate) const REST: Duration = Duration::from_secs(10);
/// How long a peer may take to hear of this node, from the first ping on.
const MEETING_LIMIT: Duration = Duration::from_millis(1500);
/// The pause between two of the pings that wait for that.
const MEETING_PAUSE: Duration = Duration::from_millis(25);
/// How long the daemon may take to drop its sessions: it takes milliseconds.
const DROP_LIMIT: Duration = Duration::from_secs(1);
/// WireGuard takes no two first messages of a peer within 20 ms (wireguard-go's HandshakeInitationRate), and tells their
/// times apart in steps of 17 ms. The rest is for what the network does to their distance.
const SPACING: Duration = Duration::from_millis(30);
/// How often a session is begun; the wait for an answer doubles each time, for peers that are slower than thought.
const ATTEMPTS: u32 = 6;
/// The longest of these waits.
const LONGEST_ATTEMPT: Duration = Duration::from_millis(400);
/// No further attempt begins after this.
const SESSION_LIMIT: Duration = Duration::from_millis(1500);
/// How many addresses are remembered; there are as many as a function talks to, so that more are a sign of something
/// odd, and then all are forgotten.
const KEPT: usize = 1000;

/// After a session has been doubted, how long it is not again: WireGuard itself begins a new one in this time.
const DOUBT_PAUSE: Duration = Duration::from_secs(5);

/// What becomes of the connection to the control server when sessions are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// It is good.
    Keep,
    /// It has died, or the control server is out of reach.
    Renew,
}

/// When each address was last asked for.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    used: HashMap<IpAddr, SystemTime>,
    doubted: HashMap<IpAddr, Instant>,
}

impl Sessions {
    /// Notes that `address` is used now. Tells whether its session has rested so long that it must be looked at: one that
    /// is not known yet begins with the first packet.
    pub(crate) fn has_rested(&mut self, address: IpAddr) -> bool {
        let now = SystemTime::now();
        if self.used.len() >= KEPT {
            self.used.clear();
        }
        // A clock that was set back says nothing: look.
        let rest = |used: SystemTime| now.duration_since(used).unwrap_or(REST);
        self.used.insert(address, now).is_some_and(|used| rest(used) >= REST)
    }

    /// Notes that dials to `address` hang. Tells whether its session has not been doubted for some time.
    fn doubt(&mut self, address: IpAddr) -> bool {
        self.doubted.retain(|_, when| when.elapsed() < DOUBT_PAUSE);
        self.doubted.len() < KEPT && !self.doubted.contains_key(&address) && {
            self.doubted.insert(address, Instant::now());
            true
        }
    }

    /// All sessions have been dropped: each new one must be looked at.
    pub(crate) fn dropped(&mut self) {
        self.used.values_mut().for_each(|used| *used = SystemTime::UNIX_EPOCH);
    }

    /// The session with `address` has been looked at.
    fn looked_at(&mut self, address: IpAddr) {
        self.used.insert(address, SystemTime::now());
    }
}

impl Link {
    /// Waits, for `limit` at most, until WireGuard has a session with the peer at `address`, if this has not been done
    /// since this node joined at `joined`.
    ///
    /// WireGuard's first message to a peer that does not know its sender is lost. Pings of the other kind are answered as
    /// soon as the daemon there knows, and do no harm before; but its WireGuard may hear of the newcomer a little later.
    pub async fn meet(&self, address: IpAddr, joined: Instant, limit: Duration) -> Result<(), LocalApiError> {
        {
            let mut state = self.state.lock().await;
            if state.joined != Some(joined) {
                (state.joined, state.met) = (Some(joined), HashSet::new());
            }
            if state.met.contains(&address) {
                return Ok(());
            }
        }
        let limit = limit.min(MEETING_LIMIT);
        let mut state = match timeout(limit, ping::until_answered(&self.api, address, MEETING_PAUSE)).await {
            Ok(Ok(round_trip)) => {
                let mut state = self.state.lock().await;
                state.round_trips.learn(round_trip);
                state
            }
            // Not a peer, or one without pings: nobody to wait for.
            Ok(Err(error)) => {
                tracing::debug!("{address} cannot be pinged: {error}");
                self.state.lock().await.met.insert(address);
                return Ok(());
            }
            Err(_) => {
                tracing::debug!("{address} answers no ping: it may be off");
                return Ok(());
            }
        };
        // The other end may know this node before it knows a way to it: its first answer is lost then.
        let patience = state.round_trips.patience().max(SPACING);
        if self.begin_session(&mut state, address, patience).await? {
            state.met.insert(address);
        }
        Ok(())
    }

    /// Makes sure that WireGuard's session with the node behind `address` is one that both know. Takes a lock's time, or a
    /// round trip after a rest, or a few where it was not.
    pub async fn freshen_session(&self, address: IpAddr) -> Result<(), LocalApiError> {
        let mut state = self.state.lock().await;
        if state.sessions.has_rested(address) {
            let patience = state.round_trips.patience();
            self.begin_session(&mut state, address, patience).await?;
        }
        Ok(())
    }

    /// The same, however short the rest was: dials to `address` hang.
    pub async fn doubt_session(&self, address: IpAddr) -> Result<(), LocalApiError> {
        let mut state = self.state.lock().await;
        if state.sessions.doubt(address) {
            let patience = state.round_trips.patience();
            self.begin_session(&mut state, address, patience).await?;
        }
        Ok(())
    }

    /// Tries until a ping comes back through the session, a few times at most, and tells whether one has: the dial that
    /// follows tells the rest. The first try waits for it for `patience`.
    async fn begin_session(
        &self,
        state: &mut State,
        address: IpAddr,
        mut patience: Duration,
    ) -> Result<bool, LocalApiError> {
        let began = Instant::now();
        let mut probe = state.probes.remove(&address);
        for attempt in 0..ATTEMPTS {
            let lives = self.session_lives(address, probe.take(), patience).await;
            if !lives {
                let in_touch = self.api.netmap().await?.in_touch();
                let control = if in_touch { Control::Keep } else { Control::Renew };
                self.drop_sessions(&mut state.sessions, control).await?;
            }
            state.sessions.looked_at(address);
            let ms = began.elapsed().as_millis();
            if lives && attempt > 0 {
                tracing::info!("WireGuard's session with {address} had gone stale; there is a new one after {ms} ms");
            }
            if lives {
                return Ok(true);
            }
            if began.elapsed() >= SESSION_LIMIT {
                break;
            }
            patience = (patience * 2).clamp(SPACING, LONGEST_ATTEMPT);
        }
        let ms = began.elapsed().as_millis();
        tracing::warn!("WireGuard finds no session with {address} in {ms} ms, though the daemon there answers");
        Ok(false)
    }

    /// Whether a ping comes back through the session, which `probe` may be already, or nothing at all from its other end: then
    /// it is not to blame.
    async fn session_lives(
        &self,
        address: IpAddr,
        probe: Option<JoinSet<Result<(), LocalApiError>>>,
        patience: Duration,
    ) -> bool {
        let mut probe = probe.unwrap_or_else(|| ping::through_session(&self.api, address));
        let stale = async {
            let answered = timeout(SECOND_PING, ping::any(&self.api, &[address])).await;
            if answered.ok().flatten().is_none() {
                return true;
            }
            // A session that has to begin takes a round trip more, and some arithmetic at both ends.
            sleep(patience).await;
            false
        };
        select! {
            biased;
            // One that could not be sent says nothing of the session.
            _ = probe.join_next() => true,
            lives = stale => lives,
        }
    }

    /// Drops all sessions, and the links with them: new ones begin with the next packets.
    pub(crate) async fn drop_sessions(&self, sessions: &mut Sessions, control: Control) -> Result<(), LocalApiError> {
        self.renewing();
        sessions.dropped();
        let (api, key) = (self.api.clone(), self.key());
        // A task of its own: one who no longer waits must not leave the daemon switched off.
        let renewed = tokio::spawn(async move {
            match control {
                Control::Keep => api.renew_sessions().await,
                Control::Renew => api.renew_all(&key).await,
            }
        });
        match timeout(DROP_LIMIT, renewed).await {
            Ok(renewed) => renewed.unwrap_or_else(|lost| Err(io::Error::other(lost).into())),
            Err(_) => Err(LocalApiError::Silent { limit: DROP_LIMIT }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(100, 64, 0, 1));

    #[test]
    fn a_session_is_looked_at_after_a_rest_and_only_then() {
        let mut sessions = Sessions::default();
        assert!(!sessions.has_rested(ADDRESS), "there was none");
        assert!(!sessions.has_rested(ADDRESS), "it has just been used");
        *sessions.used.get_mut(&ADDRESS).unwrap() -= REST;
        assert!(sessions.has_rested(ADDRESS));
        assert!(!sessions.has_rested(ADDRESS), "the look was one");
        *sessions.used.get_mut(&ADDRESS).unwrap() += Duration::from_secs(3600);
        assert!(sessions.has_rested(ADDRESS), "the clock was set back");
        sessions.dropped();
        assert!(sessions.has_rested(ADDRESS), "the new one must be looked at");
        sessions.dropped();
        sessions.looked_at(ADDRESS);
        assert!(!sessions.has_rested(ADDRESS), "it has been");
    }

    #[test]
    fn a_session_is_not_doubted_again_at_once() {
        let mut sessions = Sessions::default();
        assert!(sessions.doubt(ADDRESS));
        assert!(!sessions.doubt(ADDRESS));
        assert!(sessions.doubt([100, 64, 0, 2].into()), "that is another one");
        *sessions.doubted.get_mut(&ADDRESS).unwrap() -= DOUBT_PAUSE;
        assert!(sessions.doubt(ADDRESS));
    }

    #[test]
    fn many_addresses_are_forgotten() {
        let mut sessions = Sessions::default();
        for number in 0..2 * u128::try_from(KEPT).unwrap() {
            sessions.has_rested(IpAddr::from(number.to_be_bytes()));
        }
        assert!(sessions.used.len() <= KEPT);
    }
}
