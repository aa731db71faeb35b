//! Keeps the evidence: probes a peer when somebody wants to use it and nothing was heard lately, and repairs the path when
//! nobody answers who should.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::{
    select,
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    clock::Clock,
    connectivity::{
        evidence::{Evidence, SESSION_SAFE},
        probe::{self, Found},
        repair::{self, Step, StepLimiter},
        warm_up,
    },
    localapi::{
        client::{LocalApi, Ping},
        error::LocalApiError,
        netmap::Netmap,
    },
};

/// How many other peers are pinged beside the one that is wanted.
const WITNESSES: usize = 2;
/// How much longer nobody may answer while the environment was awake all the time: then a lost packet is more likely than
/// dead links. (TCP's least retransmission time-out is 200 ms.)
const AWAKE_PATIENCE: Duration = Duration::from_millis(300);
/// After a gap this long the connection to the control server is renewed even if peers answer: no NAT keeps it (AWS's NAT
/// gateway: 350 s), and it may have died where direct paths came back.
const CONTROL_IDLE: Duration = Duration::from_secs(300);
/// How long a peer may take to answer over a new path, at least: a TCP and a TLS handshake, at any distance.
const CONFIRM_LIMIT: Duration = Duration::from_secs(3);
/// How long a greeting may take: a peer may hear late of this machine (Headscale sends changes every 0.8 s), and be far away.
const GREETING_LIMIT: Duration = Duration::from_secs(5);
/// How many round trips the first message of a session takes, its answer included, where the DERP server is not connected
/// yet: TCP, TLS, the upgrade, the message; and some to spare.
const DERP_ROUND_TRIPS: u32 = 7;
/// What it may take beyond them.
const SESSION_SLACK: Duration = Duration::from_millis(50);
/// How many pings measure the round trip to a peer that has answered for the first time.
const SAMPLES: usize = 3;

/// What a look at the path to a peer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The peer answers.
    Alive,
    /// The path was made anew: what was sent over the old one may be lost.
    Renewed,
    /// The links are alive, but the peer does not answer: it is off, or out of reach.
    PeerSilent,
    /// Nothing is known: nobody can be pinged, or nobody answers.
    Unknown,
    /// tailscaled does not respond.
    DaemonSilent,
}

type Look = Shared<BoxFuture<'static, Outcome>>;
type Greeting = Shared<BoxFuture<'static, ()>>;

/// The paths into the tailnet. Clones share it.
#[derive(Clone)]
pub struct Connectivity(Arc<Inner>);

struct Inner {
    api: LocalApi,
    clock: Clock,
    netmap: watch::Receiver<Netmap>,
    /// The machine's own name before the tailnet made it unique: machines of the same function have it too.
    hostname: String,
    evidence: Mutex<Evidence>,
    /// Looks under way, one for each address at most.
    looks: Mutex<HashMap<IpAddr, Look>>,
    /// Greetings under way, likewise.
    greetings: Mutex<HashMap<IpAddr, Greeting>>,
    /// Wakes those who wait for a session.
    proofs: Notify,
    steps: StepLimiter,
}

impl Connectivity {
    /// The paths of the tailscaled behind `api`.
    pub fn new(api: LocalApi, clock: Clock, netmap: watch::Receiver<Netmap>, hostname: &str) -> Self {
        let now = clock.now();
        Self(Arc::new(Inner {
            api,
            clock,
            netmap,
            hostname: hostname.to_ascii_lowercase(),
            evidence: Mutex::new(Evidence::new(now)),
            looks: Mutex::default(),
            greetings: Mutex::default(),
            proofs: Notify::new(),
            steps: StepLimiter::default(),
        }))
    }

    /// The path's generation: a connection is never older than the path that it was made on.
    pub fn path(&self) -> u64 {
        self.evidence().path()
    }

    /// The round trip to `address`, as far as it is known.
    pub fn round_trip(&self, address: IpAddr) -> Option<Duration> {
        self.evidence().round_trip(address)
    }

    /// A new tailscaled starts: nothing is known of its paths.
    pub fn renew_path(&self) {
        self.evidence().renew_path();
    }

    /// The longest round trip that was seen lately.
    pub fn longest_round_trip(&self) -> Option<Duration> {
        self.evidence().longest_round_trip()
    }

    /// Detaches the control client, which may have a dead connection.
    pub(crate) async fn detach_control(&self) -> Result<(), LocalApiError> {
        repair::detach_control(&self.0.api).await
    }

    /// The environment is awake. Returns for how long nothing has been heard, if that is long.
    pub fn touch(&self) -> Option<Duration> {
        let mut evidence = self.evidence();
        evidence.touch(self.0.clock.now());
        evidence.gap()
    }

    /// Makes sure that the path to `address` is alive: at once if something was heard lately, after a round trip otherwise,
    /// after a repair if the path has died. `None`: that has not come to an end by `deadline`; it goes on.
    pub async fn verify(&self, address: IpAddr, deadline: Instant) -> Option<Outcome> {
        self.touch();
        {
            let mut evidence = self.evidence();
            evidence.note_use(address);
            if evidence.is_fresh(address, self.0.clock.now()) {
                return Some(Outcome::Alive);
            }
        }
        // A greeting under way finds out the same, unless a freeze came in between: it would not notice dead links.
        let awake = self.evidence().gap().is_none();
        let greeting = lock(&self.0.greetings).get(&address).cloned().filter(|_| awake);
        if let Some(greeting) = greeting {
            timeout_at(deadline, greeting).await.ok()?;
            if self.evidence().is_fresh(address, self.0.clock.now()) {
                return Some(Outcome::Alive);
            }
        }
        timeout_at(deadline, self.look(address)).await.ok()
    }

    /// A dial to `address` stalls: looks at the path however fresh it seems.
    pub async fn stalled(&self, address: IpAddr, deadline: Instant) -> Option<Outcome> {
        self.touch();
        timeout_at(deadline, self.look(address)).await.ok()
    }

    /// Makes sure that the links are alive after a gap, by whichever peer should answer.
    pub async fn verify_links(&self, deadline: Instant) -> Option<Outcome> {
        if self.touch().is_none() {
            return Some(Outcome::Alive);
        }
        let wanted = self.evidence().recent().first().copied();
        let Some(address) = wanted.or_else(|| self.witnesses(None).first().copied()) else {
            return Some(Outcome::Unknown);
        };
        timeout_at(deadline, self.look(address)).await.ok()
    }

    /// Begins to greet the peer at `address`, which may not have heard of this machine yet: it has just joined.
    pub fn meet(&self, address: IpAddr) {
        if !self.evidence().heard(address) {
            drop(self.greeting(address));
        }
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
    /// The first message is sent at once: tailscaled holds it until the connection to the peer's DERP server is there, which
    /// takes three round trips, and looks for direct paths both ways meanwhile. If the peer does not know this machine yet,
    /// the message is lost, and WireGuard sends no other for 5 s. That shows by pings of the other kind, which a peer answers
    /// as soon as it knows their sender: when they are answered and no session comes, all sessions are begun anew.
    async fn greet(&self, address: IpAddr) {
        // tailscaled sets the data plane up under the lock that this call waits for.
        if self.0.api.awake().await.is_err() {
            return;
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
        let Some(round_trip) = answered else {
            return;
        };
        self.evidence().record_heard(address, self.0.clock.now());
        // The message may still wait for the connection to the DERP server.
        let due = (began + round_trip * DERP_ROUND_TRIPS).max(Instant::now() + round_trip * 2) + SESSION_SLACK;
        let proved = match timeout_at(due, &mut session).await {
            Ok(proved) => proved,
            Err(_) => self.begin_sessions_anew(address, round_trip).await,
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

    /// Joins the look at the path to `address` that is under way, or begins one. It goes on when nobody waits for it.
    fn look(&self, address: IpAddr) -> Look {
        let mut looks = lock(&self.0.looks);
        let look = looks.entry(address).or_insert_with(|| {
            let this = self.clone();
            let look = async move {
                let outcome = this.look_now(address).await;
                lock(&this.0.looks).remove(&address);
                outcome
            };
            driven(look.boxed())
        });
        look.clone()
    }

    async fn look_now(&self, address: IpAddr) -> Outcome {
        match self.probe_and_repair(address).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!("the path to {address} cannot be probed: {error}");
                match error {
                    LocalApiError::Silent { .. } => Outcome::DaemonSilent,
                    _ => Outcome::Unknown,
                }
            }
        }
    }

    async fn probe_and_repair(&self, address: IpAddr) -> Result<Outcome, LocalApiError> {
        let began = Instant::now();
        let witnesses = self.witnesses(Some(address));
        let (path, gap, limit, heard) = {
            let evidence = self.evidence();
            let asked = std::iter::once(&address).chain(&witnesses).copied();
            let heard: Vec<IpAddr> = asked.filter(|peer| evidence.heard(*peer)).collect();
            let patience = if evidence.gap().is_some() {
                Duration::ZERO
            } else {
                AWAKE_PATIENCE
            };
            (
                evidence.path(),
                evidence.gap(),
                evidence.timeout(address) + patience,
                heard,
            )
        };
        let expected = !heard.is_empty();
        let answers = probe::probe(&self.0.api, address, &witnesses, limit).await?;
        if self.path() != path {
            // Somebody else has repaired it meanwhile.
            return Ok(Outcome::Renewed);
        }
        let ended_gap = self.record(address, &witnesses, &heard, &answers);
        let blamed = answers.found == Found::SessionSilent;
        let step = match answers.found {
            Found::Proved => {
                self.renew_idle_control(ended_gap);
                return Ok(Outcome::Alive);
            }
            Found::PeerSilent => {
                self.renew_idle_control(ended_gap);
                return Ok(Outcome::PeerSilent);
            }
            Found::NotPingable => return Ok(Outcome::Unknown),
            Found::SessionSilent if !self.evidence().may_blame_session(address) => return Ok(Outcome::Alive),
            // WireGuard's messages may have been lost since the gap began: it would not send another for 5 s.
            Found::Nobody if expected && gap.is_some_and(|gap| gap >= SESSION_SAFE) => Step::RenewSessions,
            Found::SessionSilent => Step::RenewSessions,
            Found::Nobody => Step::ReconnectDerp,
        };
        let now = self.0.clock.now();
        // After a strong step, dead links must not wait for the next one.
        let step = match step {
            Step::ReconnectDerp if !expected => self.0.steps.try_acquire_guess(now).then_some(step),
            _ if self.0.steps.try_acquire(step, now) => Some(step),
            Step::RenewSessions if !blamed => {
                let milder = Step::ReconnectDerp;
                self.0.steps.try_acquire(milder, now).then_some(milder)
            }
            _ => None,
        };
        let Some(step) = step else {
            return Ok(Outcome::Unknown);
        };
        if blamed {
            self.evidence().blame_session(address);
        }
        let seen = began.elapsed();
        let path = self.take(step).await?;
        let this = self.clone();
        tokio::spawn(async move {
            let confirmed = this.confirm(address, &witnesses, path).await;
            let (gap_ms, seen_ms) = (gap.unwrap_or_default().as_millis(), seen.as_millis());
            let (took_ms, action) = (began.elapsed().as_millis(), step.name());
            if confirmed {
                tracing::info!(
                    "the path had died in a gap of {gap_ms} ms: noticed after {seen_ms} ms, {action}, alive after {took_ms} ms"
                );
            } else {
                tracing::warn!(
                    "no peer answers after a gap of {gap_ms} ms: noticed after {seen_ms} ms, {action}, still silent after {took_ms} ms"
                );
            }
            // Last, and beside the data plane: it needs the processor too.
            this.reconnect_control().await;
        });
        Ok(Outcome::Renewed)
    }

    /// Takes `step`. Returns the new path's generation.
    async fn take(&self, step: Step) -> Result<u64, LocalApiError> {
        // What is sent from here on may be lost, until the step is done.
        self.evidence().renew_path();
        repair::take(&self.0.api, step).await?;
        Ok(self.evidence().renew_path())
    }

    /// Waits until somebody answers over the new path.
    async fn confirm(&self, address: IpAddr, witnesses: &[IpAddr], path: u64) -> bool {
        let limit = CONFIRM_LIMIT.max(self.evidence().timeout(address) * 10);
        let mut greetings: JoinSet<bool> = std::iter::once(&address)
            .chain(witnesses)
            .map(|peer| {
                let (this, peer) = (self.clone(), *peer);
                async move {
                    let answered = probe::until_answered(&this.0.api, peer).await.is_some();
                    if answered && this.path() == path {
                        this.evidence().record_heard(peer, this.0.clock.now());
                    }
                    answered
                }
            })
            .collect();
        let answered = async {
            while let Some(answered) = greetings.join_next().await {
                if matches!(answered, Ok(true)) {
                    return true;
                }
            }
            false
        };
        timeout(limit, answered).await.unwrap_or_default()
    }

    /// Notes who answered, and who did not though others did. Those in `heard` had answered over this path before: the others'
    /// answers may have waited for its connections, which says nothing of their round trips. Returns the gap that this ended:
    /// looks at several peers may be under way in the same gap.
    fn record(
        &self,
        address: IpAddr,
        witnesses: &[IpAddr],
        heard: &[IpAddr],
        answers: &probe::Answers,
    ) -> Option<Duration> {
        let now = self.0.clock.now();
        let mut evidence = self.evidence();
        let gap = evidence.gap();
        for (peer, took) in &answers.from {
            if heard.contains(peer) {
                evidence.record_rtt(*peer, *took);
            }
            evidence.record_heard(*peer, now);
        }
        if answers.found == Found::Proved {
            evidence.record_proved(address, now);
        }
        if answers.found == Found::PeerSilent {
            let answered = |peer: &IpAddr| answers.from.iter().any(|(other, _)| other == peer);
            for silent in std::iter::once(&address)
                .chain(witnesses)
                .filter(|peer| !answered(peer))
            {
                evidence.record_silent(*silent);
            }
        }
        gap.filter(|_| evidence.gap().is_none())
    }

    /// Peers that should answer if the links are alive, besides `address`: those who did lately; otherwise those whom the
    /// control server has connected. Machines of this function are often frozen, and still count as connected there.
    fn witnesses(&self, address: Option<IpAddr>) -> Vec<IpAddr> {
        let mut chosen = self.evidence().heard_besides(address.unwrap_or(IpAddr::from([0; 4])));
        chosen.truncate(WITNESSES);
        let enough = chosen.len() == WITNESSES || address.is_some_and(|address| self.evidence().heard(address));
        if !enough {
            let netmap = self.0.netmap.borrow();
            let others = warm_up::reachable(&netmap, &self.0.hostname)
                .filter(|peer| Some(*peer) != address && !chosen.contains(peer))
                .take(WITNESSES - chosen.len());
            let others: Vec<IpAddr> = others.collect();
            chosen.extend(others);
        }
        chosen
    }

    fn renew_idle_control(&self, gap: Option<Duration>) {
        if gap.is_some_and(|gap| gap >= CONTROL_IDLE) {
            let this = self.clone();
            tokio::spawn(async move { this.reconnect_control().await });
        }
    }

    /// Gives tailscaled a new connection to the control server: the old one has died with the links, and tailscaled would
    /// wait on it for as long as TCP does.
    async fn reconnect_control(&self) {
        if let Err(error) = self.0.api.reconnect_control().await {
            tracing::warn!("tailscaled does not reconnect to the control server: {error}");
        }
    }

    fn evidence(&self) -> MutexGuard<'_, Evidence> {
        lock(&self.0.evidence)
    }
}

/// `work`, which goes on even if nobody waits for it.
fn driven<T: Clone + Send + Sync + 'static>(work: BoxFuture<'static, T>) -> Shared<BoxFuture<'static, T>> {
    let work = work.shared();
    tokio::spawn(work.clone());
    work
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
