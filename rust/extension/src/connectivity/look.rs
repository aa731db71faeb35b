//! A look at the path to a peer: probes it when somebody wants to use it and nothing was heard lately, and repairs the path
//! when nobody answers who should.

use std::{net::IpAddr, pin::pin, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{
    join,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    connectivity::{
        evidence::SESSION_SAFE,
        greeting::DERP_ROUND_TRIPS,
        monitor::{Connectivity, Outcome},
        probe::{self, Found},
        repair::{self, HANDSHAKE_QUIET, Step},
        warm_up,
    },
    localapi::error::LocalApiError,
};

/// How many other peers are pinged beside the one that is wanted.
const WITNESSES: usize = 2;
/// How much longer nobody may answer while the environment was awake all the time: then a lost packet is more likely than
/// dead links. (TCP's least retransmission time-out is 200 ms.)
const AWAKE_PATIENCE: Duration = Duration::from_millis(300);
/// After a gap this long the connection to the control server is renewed even if peers answer: no NAT keeps it (AWS's NAT
/// gateway: 350 s), and it may have died where direct paths came back.
const CONTROL_IDLE: Duration = Duration::from_secs(300);
/// How long the choice of the home DERP region is waited for, and the pause between two questions for it. tailscaled tries UDP
/// for 3 s.
const HOME_LIMIT: Duration = Duration::from_secs(4);
const HOME_PAUSE: Duration = Duration::from_millis(50);
/// How long a peer may take to answer over a new path, at least: a TCP and a TLS handshake, at any distance.
const CONFIRM_LIMIT: Duration = Duration::from_secs(3);
/// How long the new connection to the control server waits for an answer over a new path, beyond that path's round trips.
const CONTROL_PATIENCE: Duration = Duration::from_millis(250);
/// How often tailscaled is asked for a new control client, and the pause between two attempts, which grows.
const CONTROL_ATTEMPTS: u32 = 5;
const CONTROL_PAUSE: Duration = Duration::from_secs(1);

impl Connectivity {
    pub(super) async fn look_now(&self, address: IpAddr) -> Outcome {
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
        let blamed = answers.found == Found::SessionSilent && self.evidence().may_blame_session(address);
        if blamed {
            self.home_chosen().await;
            if self.path() != path {
                return Ok(Outcome::Renewed);
            }
        }
        let step = match answers.found {
            Found::Proved => {
                if let Some(gap) = ended_gap {
                    tracing::debug!(gap_ms = millis(gap), took_ms = millis(began.elapsed()), "path alive");
                }
                self.renew_idle_control(ended_gap);
                return Ok(Outcome::Alive);
            }
            Found::PeerSilent => {
                self.renew_idle_control(ended_gap);
                return Ok(Outcome::PeerSilent);
            }
            Found::NotPingable => return Ok(Outcome::Unknown),
            Found::SessionSilent if !blamed => return Ok(Outcome::Alive),
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
        let quiet = if blamed { HANDSHAKE_QUIET } else { Duration::ZERO };
        let path = self.take(step, quiet).await?;
        let this = self.clone();
        tokio::spawn(async move {
            let mut confirm = pin!(this.confirm(address, &witnesses, path));
            let round_trip = this.longest_round_trip().unwrap_or_default();
            let patience = round_trip * DERP_ROUND_TRIPS + CONTROL_PATIENCE;
            let (confirmed, reconnected) = match timeout(patience, &mut confirm).await {
                Ok(confirmed) => (confirmed, false),
                // Perhaps nobody answers because the tailnet has removed this machine: only the control server tells.
                Err(_) => (join!(confirm, this.reconnect_control()).0, true),
            };
            let (gap_ms, noticed_ms, took_ms) =
                (millis(gap.unwrap_or_default()), millis(seen), millis(began.elapsed()));
            let action = step.name();
            if confirmed {
                tracing::info!(gap_ms, noticed_ms, action, took_ms, "path repaired");
            } else {
                tracing::warn!(
                    gap_ms,
                    noticed_ms,
                    action,
                    took_ms,
                    "no peer answers, after a repair too"
                );
            }
            // After the data plane, if that is there: it needs the processor too.
            if !reconnected {
                this.reconnect_control().await;
            }
        });
        Ok(Outcome::Renewed)
    }

    /// Waits until tailscaled has chosen the home DERP region, for a time.
    ///
    /// To renew the sessions before would make sure that nobody can answer: the DERP server tells the peers that this machine
    /// is gone when its connection closes, and they do not learn from its next packets that it is back (in v1.102.5:
    /// magicsock's `runDerpReader` leaves it in `peerPresent`). From then on they answer by the home region, if at all.
    pub(super) async fn home_chosen(&self) {
        let chosen = async {
            while !self.0.home.load(Relaxed) {
                match self.0.api.has_home().await {
                    Ok(true) => return self.0.home.store(true, Relaxed),
                    Ok(false) => {}
                    Err(error) => tracing::debug!("the home DERP region is not known: {error}"),
                }
                sleep(HOME_PAUSE).await;
            }
        };
        if timeout(HOME_LIMIT, chosen).await.is_err() {
            tracing::debug!("tailscaled has chosen no home DERP region");
        }
    }

    /// Takes `step`, with `quiet` in the middle of it: see [`repair::take`]. Returns the new path's generation.
    pub(super) async fn take(&self, step: Step, quiet: Duration) -> Result<u64, LocalApiError> {
        // What is sent from here on may be lost, until the step is done.
        self.evidence().renew_path();
        repair::take(&self.0.api, step, quiet).await?;
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
    pub(super) fn witnesses(&self, address: Option<IpAddr>) -> Vec<IpAddr> {
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
    pub(super) async fn reconnect_control(&self) {
        for attempt in 1..=CONTROL_ATTEMPTS {
            match self.0.api.reconnect_control().await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!("tailscaled does not reconnect to the control server (attempt {attempt}): {error}");
                }
            }
            sleep(CONTROL_PAUSE * attempt).await;
        }
        tracing::error!("tailscaled has no connection to the control server, and hears of no changes in the tailnet");
    }
}

/// Whole milliseconds, as a field of a log line.
fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
