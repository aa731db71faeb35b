//! Greets peers after a login, so that the first request finds a WireGuard session.

use std::{net::IpAddr, time::Duration};

use futures_util::FutureExt;
use tokio::{
    select,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    connectivity::{
        monitor::{Connectivity, Greeting, driven, lock},
        probe,
        repair::Step,
        warm_up,
    },
    localapi::client::Ping,
};

/// How long a greeting may take: a peer may hear late of this machine (Headscale sends changes every 0.8 s), and be far away.
const GREETING_LIMIT: Duration = Duration::from_secs(5);
/// How long a dial waits for it at most: there are peers that answer no pings (those that speak WireGuard alone).
const MEETING_LIMIT: Duration = Duration::from_secs(2);
/// How many round trips the first message of a session takes, its answer included, where the DERP server is not connected
/// yet: TCP, TLS, the upgrade, the message; and some to spare.
pub(super) const DERP_ROUND_TRIPS: u32 = 7;
/// What it may take beyond them.
const SESSION_SLACK: Duration = Duration::from_millis(50);
/// How many pings measure the round trip to a peer that has answered for the first time.
const SAMPLES: usize = 3;

impl Connectivity {
    /// Greets the peer at `address`, which may not have heard of this machine yet: it has just joined. Returns when that is
    /// done, by `deadline` at the latest: a dial that came before it would waste WireGuard's first message.
    pub async fn meet(&self, address: IpAddr, deadline: Instant) {
        let under_way = lock(&self.0.greetings).get(&address).cloned();
        let greeting = match under_way {
            Some(greeting) => greeting,
            None if self.evidence().heard(address) => return,
            None => self.greeting(address),
        };
        // Either end of it is fine, as for the greeting itself.
        let _ = timeout_at(deadline.min(Instant::now() + MEETING_LIMIT), greeting).await;
    }

    /// Joins the greeting of a peer that is under way, or begins one.
    fn greeting(&self, address: IpAddr) -> Greeting {
        let mut greetings = lock(&self.0.greetings);
        let greeting = greetings.entry(address).or_insert_with(|| {
            let this = self.clone();
            let greeting = async move {
                // Either end of it is fine: the dial that follows tells the rest.
                let _ = timeout(GREETING_LIMIT, this.greet(address)).await;
                lock(&this.0.greetings).remove(&address);
            };
            driven(greeting.boxed())
        });
        greeting.clone()
    }

    /// tailscaled tells of a new WireGuard session with the peer of this stable ID.
    pub fn session_established(&self, stable_id: &str) {
        let addresses = self
            .0
            .netmap
            .borrow()
            .by_stable_id(stable_id)
            .map(|peer| peer.addresses.clone());
        let greetings = lock(&self.0.greetings);
        let now = self.0.clock.now();
        for address in addresses
            .into_iter()
            .flatten()
            .filter(|address| greetings.contains_key(address))
        {
            self.evidence().record_proved(address, now);
        }
        drop(greetings);
        self.0.proofs.notify_waiters();
    }

    /// Begins the WireGuard session with a peer, and makes sure that it is one that both ends know.
    ///
    /// If the peer does not know this machine yet, WireGuard's first message is lost, and WireGuard sends no other for 5 s.
    /// So pings come first: magicsock answers them as soon as it knows their sender, without a session. They also open the
    /// connection to the peer's DERP server, and look for direct paths. A peer that knows the sender may still have no way
    /// back for WireGuard: that takes a packet which came to it over DERP, or this machine's home DERP region, and there is
    /// one of them once tailscaled is in the tailnet.
    async fn greet(&self, address: IpAddr) {
        // tailscaled sets the data plane up under the lock that this call waits for.
        if self.0.api.awake().await.is_err() {
            return;
        }
        // One that cannot be pinged at all is dialled as it is.
        let Some(longest) = probe::until_answered(&self.0.api, address).await else {
            return;
        };
        self.evidence().record_heard(address, self.0.clock.now());
        self.in_tailnet().await;
        let session = self.session(address);
        tokio::pin!(session);
        // What was answered may be an old ping, which waited in a queue or for the end of a freeze: only a new one tells the
        // round trip.
        let again = timeout(longest, probe::until_answered(&self.0.api, address));
        let proved = select! {
            biased;
            proved = &mut session => proved,
            answered = again => {
                let round_trip = answered.ok().flatten().map_or(longest, |answered| answered.min(longest));
                match timeout(round_trip * 2 + SESSION_SLACK, &mut session).await {
                    Ok(proved) => proved,
                    Err(_) => self.begin_sessions_anew(address, round_trip).await,
                }
            }
        };
        if proved {
            self.acquaint(address);
        }
    }

    /// Begins all sessions anew, because that with `address` does not come. It disturbs all other peers, so a peer that never
    /// answers through its session has this done once.
    async fn begin_sessions_anew(&self, address: IpAddr, round_trip: Duration) -> bool {
        if !self.evidence().may_blame_session(address)
            || !self.0.steps.try_acquire(Step::RenewSessions, self.0.clock.now())
        {
            return false;
        }
        self.evidence().blame_session(address);
        tracing::debug!("{address} answers pings, but has not taken the first message of a WireGuard session");
        if let Err(error) = self.take(Step::RenewSessions).await {
            tracing::warn!("the WireGuard session with {address} cannot be renewed: {error}");
            return false;
        }
        let limit = round_trip * DERP_ROUND_TRIPS + SESSION_SLACK;
        let proved = timeout(limit, self.session(address)).await.unwrap_or_default();
        self.reconnect_control().await;
        proved
    }

    /// Waits until the WireGuard session with `address` is proved; `false`: it cannot be.
    async fn session(&self, address: IpAddr) -> bool {
        let established = async {
            loop {
                let proofs = self.0.proofs.notified();
                if self.evidence().is_proved(address) {
                    return true;
                }
                proofs.await;
            }
        };
        select! {
            biased;
            established = established => established,
            answered = self.0.api.ping(address, Ping::Tsmp) => {
                if answered.is_ok() {
                    self.evidence().record_proved(address, self.0.clock.now());
                }
                answered.is_ok()
            }
        }
    }

    /// Measures the round trip to a peer, behind whatever comes first.
    fn acquaint(&self, address: IpAddr) {
        let this = self.clone();
        tokio::spawn(async move {
            let path = this.path();
            for _ in 0..SAMPLES {
                if this.path() == path && this.evidence().wants_samples(address) {
                    this.sample(address).await;
                }
            }
        });
    }

    async fn sample(&self, address: IpAddr) {
        let limit = self.evidence().timeout(address) * 4;
        if let Ok(Ok(answers)) = timeout(limit, probe::probe(&self.0.api, address, &[], limit)).await {
            let mut evidence = self.evidence();
            for (peer, took) in answers.from {
                evidence.record_rtt(peer, took);
            }
        }
    }

    /// Has tailscaled open, while it logs in, what the first requests will need. Returns when that is done, or when it is
    /// not worth waiting for any longer; the caller sets the limit.
    pub async fn warm_up(&self, likely: &[IpAddr]) {
        let greeted: Vec<IpAddr> = {
            let netmap = self.0.netmap.borrow();
            let recent = self.evidence().recent();
            warm_up::choose(&netmap, &self.0.hostname, &recent, likely)
        };
        let mut greetings: JoinSet<()> = greeted
            .into_iter()
            .map(|address| {
                let this = self.clone();
                async move { this.greeting(address).await }
            })
            .collect();
        while greetings.join_next().await.is_some() {}
    }
}
