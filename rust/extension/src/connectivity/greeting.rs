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
        repair::{HANDSHAKE_QUIET, Step},
        warm_up,
    },
    localapi::client::Ping,
};

/// How long the first message to a near peer waits until tailscaled is running, at least, and for the answer to a ping.
const RUNNING_PAUSE: Duration = Duration::from_millis(30);
const ANSWER_PAUSE: Duration = Duration::from_millis(200);
/// How long a greeting may take: a peer may hear late of this machine (Headscale sends changes every 0.8 s), and be far away.
const GREETING_LIMIT: Duration = Duration::from_secs(5);
/// How many round trips the first message of a session takes, its answer included, where the DERP server is not connected
/// yet: TCP, TLS, the upgrade, the message; and some to spare.
pub(super) const DERP_ROUND_TRIPS: u32 = 7;
/// What it may take beyond them.
const SESSION_SLACK: Duration = Duration::from_millis(50);
/// How often the sessions are begun anew for a peer that answers pings alone, and what each of these may take beyond them.
const RENEWALS: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(400),
    Duration::from_secs(1),
];
/// How many pings measure the round trip to a peer that has answered for the first time.
const SAMPLES: usize = 3;

impl Connectivity {
    /// Begins to greet the peer at `address`, which may not have heard of this machine yet: it has just joined.
    pub fn meet(&self, address: IpAddr) {
        if !self.evidence().heard(address) {
            drop(self.greeting(address, None, true));
        }
    }

    /// Joins the greeting of a peer that is under way, or begins one: see [`greet`](Self::greet).
    fn greeting(&self, address: IpAddr, near: Option<Duration>, renews: bool) -> Greeting {
        let mut greetings = lock(&self.0.greetings);
        let greeting = greetings.entry(address).or_insert_with(|| {
            let this = self.clone();
            let greeting = async move {
                // Either end of it is fine: the dial that follows tells the rest.
                let _ = timeout(GREETING_LIMIT, this.greet(address, near, renews)).await;
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
    /// The first message is sent at once: tailscaled holds it until the connection to the peer's DERP server is there, which
    /// takes three round trips, and looks for direct paths both ways meanwhile. If the peer does not know this machine yet,
    /// the message is lost, and WireGuard sends no other for 5 s. That shows by pings of the other kind, which a peer answers
    /// as soon as it knows their sender: when they are answered and no session comes, all sessions are begun anew.
    ///
    /// That takes long. To a peer that is `near`, as a login tells that took so long, the message would race the control
    /// server's news of this machine. There it waits until tailscaled is running; where UDP is blocked, which shows in that it is
    /// not, until the peer answers a ping. (Not where UDP works: the message would go by the direct path that a ping finds, and
    /// the peer, which knows neither that path nor this machine's home DERP region yet, could not answer.) Farther away, the
    /// message waits for the connection to the DERP server anyway, and the news is there first.
    ///
    /// To begin all sessions anew undoes what is under way to the other peers. It takes milliseconds where these are near. Where
    /// they are not, it would take the first message to one of them with it, for the sake of a peer that is near itself and
    /// hears of this machine from afar: only a greeting that `renews` does that.
    async fn greet(&self, address: IpAddr, near: Option<Duration>, renews: bool) {
        // tailscaled sets the data plane up under the lock that this call waits for.
        if self.0.api.awake().await.is_err() {
            return;
        }
        if let Some(login) = near {
            let mut joined = self.0.joined.subscribe();
            let running = timeout(login.max(RUNNING_PAUSE), joined.wait_for(|joined| *joined))
                .await
                .is_ok();
            // Where UDP is blocked, tailscaled is not running before a ping has opened a connection to a DERP server.
            if !running {
                // Where none is answered in time, the pings below tell what became of it.
                drop(timeout(ANSWER_PAUSE, probe::until_answered(&self.0.api, address)).await);
            }
        }
        let began = Instant::now();
        let session = self.session(address);
        tokio::pin!(session);
        let answered = select! {
            biased;
            proved = &mut session => {
                if proved {
                    self.acquaint(address);
                }
                return;
            }
            answered = probe::until_answered(&self.0.api, address) => answered,
        };
        // One that cannot be pinged at all is dialled as it is.
        let Some(longest) = answered else {
            return;
        };
        self.evidence().record_heard(address, self.0.clock.now());
        // What was answered may be an old ping, which waited in a queue or for the end of a freeze: only a new one tells the
        // round trip.
        let round_trip = select! {
            biased;
            proved = &mut session => {
                if proved {
                    self.acquaint(address);
                }
                return;
            }
            answered = timeout(longest, probe::until_answered(&self.0.api, address)) => {
                answered.ok().flatten().map_or(longest, |answered| answered.min(longest))
            }
        };
        // The message may still wait for the connection to the DERP server.
        let due = (began + round_trip * DERP_ROUND_TRIPS).max(Instant::now() + round_trip * 2) + SESSION_SLACK;
        let proved = match timeout_at(due, &mut session).await {
            Ok(proved) => proved,
            Err(_) if !renews => false,
            Err(_) => select! {
                biased;
                proved = &mut session => proved,
                () = self.home_chosen() => self.begin_sessions_anew(address, round_trip).await,
            },
        };
        if proved {
            self.acquaint(address);
        }
    }

    async fn begin_sessions_anew(&self, address: IpAddr, round_trip: Duration) -> bool {
        if !self.evidence().may_blame_session(address)
            || !self.0.steps.try_acquire(Step::RenewSessions, self.0.clock.now())
        {
            return false;
        }
        self.evidence().blame_session(address);
        tracing::debug!("{address} answers pings, but has not taken the first message of a WireGuard session");
        // A peer answers pings some time before WireGuard knows this machine there: if a renewal was too early, the next one
        // is not. Nothing goes over these paths yet.
        let mut proved = false;
        for slack in RENEWALS {
            if let Err(error) = self.take(Step::RenewSessions, HANDSHAKE_QUIET).await {
                tracing::warn!("the WireGuard session with {address} cannot be renewed: {error}");
                return false;
            }
            let limit = round_trip * DERP_ROUND_TRIPS + slack;
            proved = timeout(limit, self.session(address)).await.unwrap_or_default();
            if proved {
                break;
            }
        }
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
    /// not worth waiting for any longer; the caller sets the limit. `near`: the login took so long, and the peers are thought
    /// to be near.
    pub async fn warm_up(&self, likely: &[IpAddr], near: Option<Duration>) {
        let greeted: Vec<IpAddr> = {
            let netmap = self.0.netmap.borrow();
            let recent = self.evidence().recent();
            warm_up::choose(&netmap, &self.0.hostname, &recent, likely)
        };
        let renews = near.is_some() || greeted.len() == 1;
        let mut greetings: JoinSet<()> = greeted
            .into_iter()
            .map(|address| {
                let this = self.clone();
                async move { this.greeting(address, near, renews).await }
            })
            .collect();
        while greetings.join_next().await.is_some() {}
    }
}
