//! What was last heard of each peer and over the links, and what follows from it: pure bookkeeping, by the wall clock.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    time::{Duration, SystemTime},
};

use crate::connectivity::rtt::{RttEstimator, probe_timeout};

/// How long a proof of the path is good for: no NAT forgets a flow so soon, and a ping costs each request some CPU.
/// (RFC 4787 section 4.3 asks for 2 minutes for UDP, RFC 5382 for hours; what is met in practice starts at 5 s.)
pub const FRESH: Duration = Duration::from_secs(2);
/// A gap below this cannot harm a WireGuard session: the first of its timers fires after 10 s.
pub const SESSION_SAFE: Duration = Duration::from_secs(10);
/// The time-out of a probe where no round trip is known.
const UNKNOWN_RTT: Duration = Duration::from_millis(400);
/// How many peers are kept. More than a function talks to is a sign of something odd; then all are forgotten.
const MAX_PEERS: usize = 1000;
/// How many of the addresses that were asked for last are kept.
const RECENT: usize = 3;

/// What is known of one peer.
#[derive(Debug, Default, Clone)]
struct PeerEvidence {
    rtt: RttEstimator,
    /// The path over which it last answered anything, and when.
    heard: Option<(u64, SystemTime)>,
    /// When the WireGuard session with it was last proved, over the current path.
    proved: Option<SystemTime>,
    /// A session with it was renewed, and it has not answered through the new one since.
    blamed: bool,
}

/// What is known of the paths into the tailnet.
#[derive(Debug)]
pub struct Evidence {
    path: u64,
    /// When the environment was last seen awake.
    awake: SystemTime,
    /// For how long the environment may have been frozen since anything was heard.
    gap: Option<Duration>,
    peers: HashMap<IpAddr, PeerEvidence>,
    recent: VecDeque<IpAddr>,
}

impl Evidence {
    /// Nothing is known yet.
    pub fn new(now: SystemTime) -> Self {
        Self {
            path: 1,
            awake: now,
            gap: None,
            peers: HashMap::new(),
            recent: VecDeque::new(),
        }
    }

    /// The path's generation.
    pub fn path(&self) -> u64 {
        self.path
    }

    /// The environment is awake. If it was not seen awake for some time, it may have been frozen, and nothing is known of
    /// the links until somebody has answered. (A clock that was set back counts as a gap.)
    pub fn touch(&mut self, now: SystemTime) {
        let gap = now.duration_since(self.awake).unwrap_or(FRESH);
        self.awake = now;
        if gap >= FRESH {
            self.gap = Some(self.gap.unwrap_or_default().max(gap));
        }
    }

    /// For how long the environment may have been frozen since anything was heard.
    pub fn gap(&self) -> Option<Duration> {
        self.gap
    }

    /// Notes an address that is asked for.
    pub fn note_use(&mut self, address: IpAddr) {
        self.recent.retain(|known| *known != address);
        self.recent.push_front(address);
        self.recent.truncate(RECENT);
    }

    /// The addresses that were asked for last, the latest first. They outlive a login.
    pub fn recent(&self) -> Vec<IpAddr> {
        self.recent.iter().copied().collect()
    }

    /// Whether the path to `address` was proved a moment ago.
    pub fn is_fresh(&self, address: IpAddr, now: SystemTime) -> bool {
        let proved = self.peers.get(&address).and_then(|peer| peer.proved);
        self.gap.is_none() && proved.is_some_and(|at| now.duration_since(at).is_ok_and(|age| age < FRESH))
    }

    /// Whether the WireGuard session with `address` was proved over the current path.
    pub fn is_proved(&self, address: IpAddr) -> bool {
        self.peers.get(&address).is_some_and(|peer| peer.proved.is_some())
    }

    /// Whether `address` has answered over the current path, so that its silence means something.
    pub fn heard(&self, address: IpAddr) -> bool {
        self.peers
            .get(&address)
            .and_then(|peer| peer.heard)
            .is_some_and(|(path, _)| path == self.path)
    }

    /// Peers that answered over the current path, the latest first, without `address`.
    pub fn heard_besides(&self, address: IpAddr) -> Vec<IpAddr> {
        let mut heard: Vec<(SystemTime, IpAddr)> = self
            .peers
            .iter()
            .filter(|(other, _)| **other != address)
            .filter_map(|(other, peer)| match peer.heard {
                Some((path, at)) if path == self.path => Some((at, *other)),
                _ => None,
            })
            .collect();
        heard.sort_unstable_by(|one, other| other.cmp(one));
        heard.into_iter().map(|(_, address)| address).collect()
    }

    /// The round trip to `address`, or to the peer nearest to it in our knowledge: the longest seen anywhere.
    fn longest_rtt(&self, address: IpAddr) -> Option<Duration> {
        let own = self.peers.get(&address).and_then(|peer| peer.rtt.longest());
        own.or_else(|| self.longest_round_trip())
    }

    /// The longest round trip that was seen lately.
    pub fn longest_round_trip(&self) -> Option<Duration> {
        self.peers.values().filter_map(|peer| peer.rtt.longest()).max()
    }

    /// How long to wait for an answer of `address`.
    pub fn timeout(&self, address: IpAddr) -> Duration {
        self.longest_rtt(address).map_or(UNKNOWN_RTT, probe_timeout)
    }

    /// The round trip to `address`, for a dialler.
    pub fn round_trip(&self, address: IpAddr) -> Option<Duration> {
        self.peers
            .get(&address)
            .and_then(|peer| peer.rtt.shortest())
            .or_else(|| self.longest_rtt(address))
    }

    /// Whether the round trip to `address` is worth measuring.
    pub fn wants_samples(&self, address: IpAddr) -> bool {
        self.peers.get(&address).is_none_or(|peer| peer.rtt.wants_samples())
    }

    /// Notes the round trip of a ping over a path that was there already.
    pub fn record_rtt(&mut self, address: IpAddr, round_trip: Duration) {
        self.peer(address).rtt.record(round_trip);
    }

    /// `address` has answered: the links are alive.
    pub fn record_heard(&mut self, address: IpAddr, now: SystemTime) {
        let path = self.path;
        self.peer(address).heard = Some((path, now));
        self.gap = None;
        self.awake = now;
    }

    /// An answer came through the WireGuard session with `address`.
    pub fn record_proved(&mut self, address: IpAddr, now: SystemTime) {
        self.record_heard(address, now);
        let peer = self.peer(address);
        (peer.proved, peer.blamed) = (Some(now), false);
    }

    /// `address` has not answered over links that are alive: its silence says nothing of them any more.
    pub fn record_silent(&mut self, address: IpAddr) {
        let peer = self.peer(address);
        (peer.heard, peer.proved) = (None, None);
    }

    /// Whether the session with `address` may be to blame, which answers but not through it: renewing it again and again for
    /// a peer that never answers so would disturb all others.
    pub fn may_blame_session(&self, address: IpAddr) -> bool {
        self.peers.get(&address).is_none_or(|peer| !peer.blamed)
    }

    /// The session with `address` is renewed because it does not answer through it.
    pub fn blame_session(&mut self, address: IpAddr) {
        self.peer(address).blamed = true;
    }

    /// A login has come to its end: the time that it took is not a freeze, and the links are alive.
    pub fn joined(&mut self, now: SystemTime) {
        (self.gap, self.awake) = (None, now);
    }

    /// Links or sessions are made anew, or there is a new login: nothing is known of the new path.
    pub fn renew_path(&mut self) -> u64 {
        self.path += 1;
        self.gap = None;
        self.peers.values_mut().for_each(|peer| peer.proved = None);
        self.path
    }

    fn peer(&mut self, address: IpAddr) -> &mut PeerEvidence {
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&address) {
            self.peers.clear();
        }
        self.peers.entry(address).or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(100, 64, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(100, 64, 0, 2));
    const T: SystemTime = SystemTime::UNIX_EPOCH;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_proof_is_good_for_a_moment_and_over_its_path() {
        let mut evidence = Evidence::new(T);
        assert!(!evidence.is_fresh(A, T));
        evidence.record_proved(A, T);
        assert!(evidence.is_fresh(A, T + secs(1)) && !evidence.is_fresh(A, T + FRESH));
        assert!(!evidence.is_fresh(A, T - secs(1)), "the clock was set back");
        assert!(!evidence.is_fresh(B, T), "that is another peer");
        evidence.renew_path();
        assert!(!evidence.is_fresh(A, T) && !evidence.heard(A));
    }

    #[test]
    fn a_long_login_is_not_a_freeze() {
        let mut evidence = Evidence::new(T);
        evidence.touch(T + FRESH);
        evidence.joined(T + FRESH * 2);
        evidence.touch(T + FRESH * 2 + secs(1));
        assert_eq!(evidence.gap(), None);
    }

    #[test]
    fn a_gap_lasts_until_somebody_answers() {
        let mut evidence = Evidence::new(T);
        evidence.record_proved(A, T);
        evidence.touch(T + secs(1));
        assert_eq!(evidence.gap(), None);
        evidence.touch(T + secs(61));
        evidence.touch(T + secs(62));
        assert_eq!(
            evidence.gap(),
            Some(secs(60)),
            "a look without an answer does not end it"
        );
        assert!(!evidence.is_fresh(A, T));
        evidence.record_heard(B, T + secs(63));
        assert_eq!(evidence.gap(), None);
        evidence.touch(T);
        assert!(evidence.gap().is_some(), "the clock was set back");
    }

    #[test]
    fn silence_over_good_links_is_not_held_against_them() {
        let mut evidence = Evidence::new(T);
        evidence.record_proved(A, T);
        evidence.record_heard(B, T + secs(1));
        assert_eq!(evidence.heard_besides(IpAddr::from([0; 4])), [B, A]);
        evidence.record_silent(A);
        assert!(!evidence.heard(A));
        assert_eq!(evidence.heard_besides(A), [B]);
    }

    #[test]
    fn a_session_is_blamed_once_until_it_is_proved() {
        let mut evidence = Evidence::new(T);
        assert!(evidence.may_blame_session(A));
        evidence.blame_session(A);
        evidence.record_heard(A, T);
        assert!(!evidence.may_blame_session(A) && evidence.may_blame_session(B));
        evidence.record_proved(A, T);
        assert!(evidence.may_blame_session(A));
    }

    #[test]
    fn a_time_out_follows_from_the_peers_round_trips_or_from_the_longest_known() {
        let mut evidence = Evidence::new(T);
        assert_eq!((evidence.timeout(A), evidence.round_trip(A)), (UNKNOWN_RTT, None));
        evidence.record_rtt(A, Duration::from_millis(300));
        evidence.record_rtt(B, Duration::from_millis(2));
        assert!(evidence.timeout(A) > Duration::from_millis(300));
        assert!(evidence.timeout(B) < Duration::from_millis(20));
        let unknown = IpAddr::from([100, 64, 0, 9]);
        assert_eq!(evidence.timeout(unknown), evidence.timeout(A));
        assert_eq!(evidence.round_trip(B), Some(Duration::from_millis(2)));
    }

    #[test]
    fn the_addresses_asked_for_last_are_kept_once_each() {
        let mut evidence = Evidence::new(T);
        for last in [1, 2, 3, 2, 4] {
            evidence.note_use([100, 64, 0, last].into());
        }
        evidence.renew_path();
        assert_eq!(
            evidence.recent(),
            [4, 2, 3].map(|last| IpAddr::from([100, 64, 0, last]))
        );
    }

    #[test]
    fn many_peers_are_forgotten() {
        let mut evidence = Evidence::new(T);
        for number in 0..2 * u32::try_from(MAX_PEERS).unwrap() {
            evidence.record_heard(IpAddr::from(number.to_be_bytes()), T);
        }
        assert!(evidence.peers.len() <= MAX_PEERS);
    }
}
