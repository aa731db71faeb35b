//! Its pings, and the WireGuard sessions that they begin.

use std::{net::IpAddr, time::Duration};

use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::{FakeTailscaled, Life, Pings, plan::Peer};

/// The bit of a watcher's mask that asks for the states of WireGuard sessions (ipn.NotifyPeerWireGuardState).
const SESSIONS: u32 = 1 << 18;
/// How long WireGuard waits before it sends another message to begin a session.
const HANDSHAKE_PAUSE: Duration = Duration::from_secs(5);

/// A ping that waits for its answer; dropped with the call.
struct InFlight {
    tailscaled: FakeTailscaled,
    address: IpAddr,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.tailscaled.state().in_flight.get_mut(&self.address).unwrap() -= 1;
    }
}

impl FakeTailscaled {
    /// Pings an address, for ever if no answer comes.
    pub(super) async fn ping(&self, query: &str) -> String {
        let (address, kind) = query.strip_prefix("ip=").unwrap().split_once("&type=").unwrap();
        let address: IpAddr = address.parse().unwrap();
        let _in_flight = self.count_in_flight(address);
        let answers_at = match self.send_ping(address, kind == "TSMP") {
            Ok(Some(answers_at)) => answers_at,
            Ok(None) => return std::future::pending().await,
            Err(error) => return json!({"Err": error}).to_string(),
        };
        sleep_until(answers_at).await;
        // The links may have died meanwhile, or tailscaled was switched off.
        let alive = |life: &Life| !life.links_dead && matches!(life.state, 5 | 6);
        if !self.state().life.as_ref().is_some_and(alive) {
            return std::future::pending().await;
        }
        json!({"IP": address, "Err": "", "LatencySeconds": 0.01}).to_string()
    }

    fn count_in_flight(&self, address: IpAddr) -> InFlight {
        let mut state = self.state();
        let in_flight = state.in_flight.entry(address).or_default();
        *in_flight += 1;
        state.max_in_flight = state.max_in_flight.max(state.in_flight[&address]);
        InFlight {
            tailscaled: self.clone(),
            address,
        }
    }

    /// When a ping is answered, `None` if never, or tailscaled's own error.
    fn send_ping(&self, address: IpAddr, tsmp: bool) -> Result<Option<Instant>, &'static str> {
        let mut state = self.state();
        let lost = state.plan.peer_for(address).is_some_and(|peer| peer.loses(tsmp));
        let peer = state.plan.peer_for(address).cloned();
        let home_at = state.home_at();
        if let Some(life) = state.life.as_mut().filter(|life| life.state == 5) {
            // It opens the connection to the peer's DERP server.
            life.enter(6);
        }
        let Some(life) = &mut state.life else { return Ok(None) };
        // It has peers from `Starting` on, and none while it is switched off.
        let (Some(peer), Some(joined_at), 5 | 6) = (peer, life.joined_at, life.state) else {
            return Err("no matching peer");
        };
        match if tsmp { peer.tsmp } else { peer.disco } {
            Pings::Fail(error) => return Err(error),
            Pings::Ignored => return Ok(None),
            Pings::Answered if lost => return Ok(None),
            Pings::Answered => {}
        }
        let now = Instant::now();
        let heard_of_us = |at: Instant| at >= joined_at + peer.hears_after;
        if !tsmp {
            let lost = life.links_dead || !heard_of_us(now);
            return Ok((!lost).then(|| now.max(life.links_ready) + peer.round_trip));
        }
        if life.stale.contains(&peer.address) {
            return Ok(None);
        }
        if let Some(ready) = life.sessions.get(&peer.address) {
            return Ok((!life.links_dead).then(|| now.max(*ready).max(life.links_ready) + peer.round_trip));
        }
        let lost_before = life.lost_handshakes.get(&peer.address);
        let sent = lost_before.map_or(now, |lost| now.max(*lost + HANDSHAKE_PAUSE));
        // A peer that was told that this machine is gone answers by its home region alone.
        let unreachable = life.told_gone && home_at.is_none_or(|at| sent < at);
        if life.links_dead || !heard_of_us(sent) || unreachable {
            life.lost_handshakes.insert(peer.address, sent);
            return Ok(None);
        }
        let ready = sent.max(life.links_ready) + peer.round_trip;
        life.sessions.insert(peer.address, ready);
        drop(state);
        self.tell_of_session(peer.clone(), ready);
        Ok(Some(ready + peer.round_trip))
    }

    fn tell_of_session(&self, peer: Peer, ready: Instant) {
        let tailscaled = self.clone();
        tokio::spawn(async move {
            sleep_until(ready).await;
            if let Some(life) = &tailscaled.state().life {
                let state = json!({"PeerState": {peer.stable_id(): {"PeerWireGuardState": "established"}}});
                for (_, listener) in life.listeners.iter().filter(|(mask, _)| mask & SESSIONS != 0) {
                    // A listener that is gone misses nothing.
                    let _ = listener.send(state.to_string());
                }
            }
        });
    }
}
