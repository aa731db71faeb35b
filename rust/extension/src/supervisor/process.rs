//! Keeps tailscaled running: starts it, and starts it again when it ends, or when another login may help.

use std::{sync::Arc, time::Duration};

use tokio::{
    pin, select,
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    auth::key_source::{KeyKindSource, KeySource},
    clock::{Clock, since},
    config::Config,
    connectivity::monitor::Connectivity,
    error::{JoinError, RetryPolicy},
    localapi::{
        client::{LocalApi, Prefs},
        error::LocalApiError,
        netmap::Netmap,
    },
    minutes::TailnetMinutes,
    supervisor::{
        backoff::Backoff,
        login::{Context, LoginSession},
        state::{Join, Reports, Tailnet, TailnetState},
    },
    tailscaled::process::{Program, Running},
};

/// How long a log-out may take: SHUTDOWN leaves 2 s for everything.
const LOGOUT_LIMIT: Duration = Duration::from_millis(1700);
/// How long the connection that is there may take for it, at least and at most: a freeze comes before nearly every
/// SHUTDOWN, and the connection may have died in it.
const LOGOUT_ATTEMPT: [Duration; 2] = [Duration::from_millis(150), Duration::from_millis(500)];
/// The pause before it is tried again that tailscaled refused it.
const LOGOUT_PAUSE: Duration = Duration::from_millis(20);
/// How long tailscaled may take to end after its LocalAPI has failed: how it ended says more than that.
const EXIT_GRACE: Duration = Duration::from_millis(250);
/// A tailscaled that lived this long starts the count of failures anew.
const LONG_LIFE: Duration = Duration::from_secs(60);
/// After so many short lives in a row, requests no longer wait for the next one.
const SHORT_LIVES: u32 = 3;
/// The pauses before tailscaled is started again.
const RESTARTS: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(10));
/// The pauses before another login.
const LOGINS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// How often the secret is read again at most, where another one is needed.
const REREAD: Duration = Duration::from_secs(4);
/// How often a secret that was rejected is tried again: the rejection may have been the control server's mistake.
const SAME_SECRET: Duration = Duration::from_secs(300);

/// Keeps tailscaled running for the life of the environment. Dropping it leaves that to the runtime's end.
pub struct Supervisor {
    tailnet: Tailnet,
    connectivity: Connectivity,
    api: LocalApi,
    netmap: watch::Receiver<Netmap>,
    minutes: TailnetMinutes,
    key_kind: KeyKindSource,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// Starts tailscaled and the login, which go on by themselves.
    pub fn start(config: &Config, clock: Clock, program: impl Program, keys: impl KeySource) -> Self {
        let (states, state) = watch::channel(TailnetState::Starting { note: None });
        let (warm, warmed) = watch::channel(false);
        let (netmaps, netmap) = watch::channel(Netmap::default());
        let (stop, stopped) = oneshot::channel();
        let reports = Arc::<Reports>::default();
        let api = program.local_api();
        let connectivity = Connectivity::new(api.clone(), Arc::clone(&clock), netmap.clone(), &config.hostname);
        let minutes = TailnetMinutes::new(config.metrics_name.as_deref(), Arc::clone(&clock));
        let context = Context {
            minutes: minutes.clone(),
            api: api.clone(),
            clock,
            connectivity: connectivity.clone(),
            prefs: prefs(config),
            exit_node: config.exit_node.clone(),
            likely: config.likely_targets.clone(),
            netmap: netmaps,
            state: states,
            warm,
            reports: Arc::clone(&reports),
        };
        if config.join != Join::Lazy {
            reports.wanted.send_replace(true);
        }
        let keys = Arc::new(keys);
        let key_kind: KeyKindSource = Arc::new({
            let keys = Arc::clone(&keys);
            move || keys.kind()
        });
        let supervision = Supervision {
            program,
            keys,
            context,
            restarts: RESTARTS,
            logins: LOGINS,
        };
        Self {
            tailnet: Tailnet::new(state, warmed, reports),
            connectivity,
            api,
            netmap,
            minutes,
            key_kind,
            stop,
            task: tokio::spawn(supervision.run(stopped)),
        }
    }

    /// The state of the tailnet.
    pub fn tailnet(&self) -> &Tailnet {
        &self.tailnet
    }

    /// The paths into the tailnet.
    pub fn connectivity(&self) -> &Connectivity {
        &self.connectivity
    }

    /// tailscaled's LocalAPI.
    pub fn api(&self) -> &LocalApi {
        &self.api
    }

    /// The tailnet's peers.
    pub fn netmap(&self) -> &watch::Receiver<Netmap> {
        &self.netmap
    }

    /// The time that the environment has been in the tailnet.
    pub fn minutes(&self) -> &TailnetMinutes {
        &self.minutes
    }

    /// Tells what kind of key the environment logs in with.
    pub fn key_kind(&self) -> KeyKindSource {
        Arc::clone(&self.key_kind)
    }

    /// Logs out and ends tailscaled, in less than 2 s.
    pub async fn stop(self) {
        // A supervision that is over has nothing left to stop.
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!("the supervision of tailscaled failed: {error}");
        }
    }
}

struct Supervision<P, K> {
    program: P,
    keys: Arc<K>,
    context: Context,
    restarts: Backoff,
    logins: Backoff,
}

/// How one life of tailscaled ended.
enum End {
    Failed(JoinError),
    Stopped,
}

impl<P: Program, K: KeySource> Supervision<P, K> {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut wanted = self.context.reports.wanted.subscribe();
        select! {
            // The sender is part of the context: it is not gone.
            _ = wanted.wait_for(|wanted| *wanted) => {}
            _ = &mut stopped => return,
        }
        loop {
            let (began, wall) = (Instant::now(), self.context.clock.now());
            let end = self.one_life(&mut stopped).await;
            self.context.minutes.left();
            let End::Failed(error) = end else {
                return;
            };
            // The one clock stands still in a freeze, the other one may be set.
            let lived = began
                .elapsed()
                .max(self.context.clock.now().duration_since(wall).unwrap_or_default());
            if lived >= LONG_LIFE {
                self.restarts.reset();
                self.logins.reset();
            }
            tracing::error!("not in the tailnet: {error}");
            select! {
                () = self.recover(error) => {}
                _ = &mut stopped => return,
            }
        }
    }

    async fn one_life(&mut self, stopped: &mut oneshot::Receiver<()>) -> End {
        self.context.netmap.send_replace(Netmap::default());
        self.context.connectivity.renew_path();
        // Secrets Manager takes longer than tailscaled's start: it is asked first. The set ends the call with this life.
        let mut key = JoinSet::new();
        let keys = Arc::clone(&self.keys);
        key.spawn(async move { keys.login_key().await });
        let key = async move {
            match key.join_next().await {
                Some(Ok(key)) => key,
                lost => Err(JoinError::TailscaledFailed {
                    reason: format!("BUG: reading the key failed: {lost:?}"),
                }),
            }
        };
        let failed = |reason| End::Failed(JoinError::TailscaledFailed { reason });
        let mut daemon = match self.program.start() {
            Ok(daemon) => daemon,
            Err(reason) => return failed(reason),
        };
        let mut session = LoginSession::new(self.context.clone(), daemon.removals());
        let end = select! {
            reason = daemon.ended() => return failed(reason),
            error = session.run(key) => End::Failed(error),
            _ = stopped => End::Stopped,
        };
        let daemon_failed = matches!(end, End::Failed(JoinError::TailscaledFailed { .. }));
        if daemon_failed && let Ok(reason) = timeout(EXIT_GRACE, daemon.ended()).await {
            return failed(reason);
        }
        // A new tailscaled registers a new machine, so the old one is logged out first, unless tailscaled itself has failed.
        if session.can_log_out() && !daemon_failed {
            self.log_out().await;
        }
        if let Err(error) = daemon.kill().await {
            tracing::error!("tailscaled could not be killed: {error}");
        }
        end
    }

    /// Reports the error, and returns when another life is worth a try.
    async fn recover(&mut self, error: JoinError) {
        match error.retry_policy() {
            RetryPolicy::Restart => {
                let pause = self.restarts.next_pause();
                let state = if self.restarts.failures() < SHORT_LIVES {
                    TailnetState::Starting {
                        note: Some(error.to_string()),
                    }
                } else {
                    TailnetState::Unavailable(error)
                };
                self.context.state.send_replace(state);
                self.pause(pause).await;
            }
            RetryPolicy::NewSecret => {
                self.context.state.send_replace(TailnetState::Unavailable(error));
                self.wait_for_new_secret().await;
            }
            RetryPolicy::Backoff | RetryPolicy::Wait => {
                self.context.state.send_replace(TailnetState::Unavailable(error));
                let pause = self.logins.next_pause();
                self.pause(pause).await;
            }
        }
    }

    /// Waits for `pause`; by the wall clock if a request comes, because after a freeze it may be over at once.
    async fn pause(&mut self, pause: Duration) {
        let began = self.context.clock.now();
        let timer = sleep(pause);
        pin!(timer);
        loop {
            select! {
                () = &mut timer => return,
                () = self.context.reports.requested.notified() => {
                    if since(&self.context.clock, began) >= pause {
                        return;
                    }
                    self.nothing_new();
                }
            }
        }
    }

    /// Waits until the secret has changed, which is looked at when a request comes, or until the same one is worth a try.
    async fn wait_for_new_secret(&mut self) {
        let began = self.context.clock.now();
        let mut read = began;
        let timer = sleep(SAME_SECRET);
        pin!(timer);
        loop {
            select! {
                () = &mut timer => break,
                () = self.context.reports.requested.notified() => {}
            }
            if since(&self.context.clock, began) >= SAME_SECRET {
                break;
            }
            if since(&self.context.clock, read) >= REREAD {
                read = self.context.clock.now();
                match self.keys.changed().await {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(error) => tracing::warn!("{error}"),
                }
            }
            self.nothing_new();
        }
        self.context.state.send_replace(TailnetState::Starting { note: None });
    }

    /// Wakes those who wait for a change of the state.
    fn nothing_new(&self) {
        self.context.state.send_modify(|_| ());
    }

    /// Logs out: over the connection to the control server that is there, and if that does not answer, over a new one.
    async fn log_out(&self) {
        let deadline = Instant::now() + LOGOUT_LIMIT;
        let api = &self.context.api;
        let [least, most] = LOGOUT_ATTEMPT;
        let round_trip = self.context.connectivity.longest_round_trip().unwrap_or_default();
        let attempt = (round_trip * 2 + least).min(most);
        match timeout(attempt, api.logout()).await {
            Ok(Ok(())) => return tracing::debug!("logged out of the tailnet"),
            Ok(Err(error)) => tracing::debug!("the log-out failed, trying a new connection: {error}"),
            Err(_) => tracing::debug!(
                "the log-out takes over {} ms, trying a new connection",
                attempt.as_millis()
            ),
        }
        let over_new_connection = async {
            loop {
                self.context.connectivity.detach_control().await?;
                api.reconnect_control().await?;
                match api.logout().await {
                    // The end of the log-out that was given up takes the new control client away, if it comes after it.
                    Err(error @ LocalApiError::Refused { .. }) => {
                        tracing::debug!("the log-out failed, trying again: {error}")
                    }
                    done => return done,
                }
                sleep(LOGOUT_PAUSE).await;
            }
        };
        match timeout_at(deadline, over_new_connection).await {
            Ok(Ok(())) => tracing::debug!("logged out of the tailnet over a new connection"),
            Ok(Err(error)) => tracing::warn!("the log-out failed: {error}"),
            Err(_) => tracing::warn!("the log-out took longer than {} ms", LOGOUT_LIMIT.as_millis()),
        }
    }
}

fn prefs(config: &Config) -> Prefs {
    Prefs {
        control_url: config.control_url.clone().unwrap_or_default(),
        want_running: true,
        hostname: config.hostname.clone(),
        route_all: true,
        corp_dns: true,
        shields_up: config.shields_up,
        advertise_tags: config.advertise_tags.clone(),
    }
}
