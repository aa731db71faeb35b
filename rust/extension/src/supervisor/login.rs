//! One login to the tailnet: follows tailscaled's notifications for as long as the process lives.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    auth::secret::Secret,
    clock::Clock,
    connectivity::monitor::Connectivity,
    error::JoinError,
    localapi::{
        bus::{Bus, Health, Notify, State},
        client::{LocalApi, Prefs},
        error::LocalApiError,
        netmap::Netmap,
    },
    minutes::TailnetMinutes,
    supervisor::{
        backoff::{AttemptLimiter, Backoff},
        exit_node::ExitNode,
        state::{Reports, TailnetState},
    },
};

/// How long tailscaled may take until its LocalAPI listens (measured: 20 ms).
const LISTENING_LIMIT: Duration = Duration::from_secs(5);
/// How long the control server may be silent before requests are told. INIT has 10 s.
const CONTROL_SILENCE: Duration = Duration::from_secs(7);
/// The pause before the bus is opened again that tailscaled has closed: it drops a listener that falls behind.
const REOPEN_PAUSE: Duration = Duration::from_millis(50);
/// The pauses between attempts that requests trigger.
const ATTEMPTS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// The pauses between attempts to use the exit node.
const EXIT_NODE_ATTEMPTS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// How long the first requests' paths may take to open, beyond the time that the login itself took.
const MIN_WARM_UP: Duration = Duration::from_millis(100);
const MAX_WARM_UP: Duration = Duration::from_secs(2);
/// A login this fast (measured: 18 ms without any distance, up to 120 ms beside other work, 225 ms at 30 ms) tells of peers
/// that are near.
const NEAR_LOGIN: Duration = Duration::from_millis(150);
/// Tailscale's own control server, which is used where no other is configured.
const TAILSCALE: &str = "https://controlplane.tailscale.com";

/// What a login works with, for the life of the environment.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) minutes: TailnetMinutes,
    pub(crate) api: LocalApi,
    pub(crate) clock: Clock,
    pub(crate) connectivity: Connectivity,
    pub(crate) prefs: Prefs,
    pub(crate) exit_node: Option<ExitNode>,
    /// Targets that requests are likely to be for.
    pub(crate) likely: Vec<String>,
    pub(crate) netmap: watch::Sender<Netmap>,
    pub(crate) state: watch::Sender<TailnetState>,
    pub(crate) warm: watch::Sender<bool>,
    pub(crate) reports: Arc<Reports>,
}

/// A login, and tailscaled's notifications about it.
pub(crate) struct LoginSession {
    context: Context,
    /// Receives a message when the control server does not know this machine.
    removals: mpsc::Receiver<()>,
    attempts: AttemptLimiter,
    /// When the login was asked for.
    began: Instant,
    /// When the control server's silence is reported; never once it has answered.
    control_deadline: Option<Instant>,
    /// A login was asked for: the control server may know this machine.
    registered: bool,
    /// tailscaled was in the tailnet since.
    joined: bool,
    /// tailscaled may be stuck.
    suspected: bool,
    /// Tailnet Lock shuts this machine out.
    locked_out: bool,
    exit_node: ExitNodeSelection,
    /// The warm-up under way.
    warming: JoinSet<()>,
}

/// The attempts to use the exit node.
struct ExitNodeSelection {
    attempt: JoinSet<Result<String, String>>,
    backoff: Backoff,
    due: Option<Instant>,
    in_use: bool,
}

impl LoginSession {
    pub(crate) fn new(context: Context, removals: mpsc::Receiver<()>) -> Self {
        Self {
            attempts: AttemptLimiter::new(ATTEMPTS, context.clock.now()),
            context,
            removals,
            began: Instant::now(),
            control_deadline: None,
            registered: false,
            joined: false,
            suspected: false,
            locked_out: false,
            exit_node: ExitNodeSelection {
                attempt: JoinSet::new(),
                backoff: EXIT_NODE_ATTEMPTS,
                due: None,
                in_use: false,
            },
            warming: JoinSet::new(),
        }
    }

    /// Whether there may be a machine in the tailnet, and a tailscaled that can log it out.
    pub(crate) fn can_log_out(&self) -> bool {
        self.registered && !self.suspected
    }

    /// Logs in, then follows tailscaled's state for as long as it can. Returns why it could not.
    pub(crate) async fn run(&mut self, key: impl Future<Output = Result<Secret, JoinError>>) -> JoinError {
        let failed = |reason: String| JoinError::TailscaledFailed { reason };
        match timeout(LISTENING_LIMIT, self.context.api.listening()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return failed(format!("tailscaled's LocalAPI cannot be awaited: {error}")),
            Err(_) => {
                let seconds = LISTENING_LIMIT.as_secs();
                return failed(format!("tailscaled's LocalAPI did not respond within {seconds} s"));
            }
        }
        let key = match key.await {
            Ok(key) => key,
            Err(error) => return error,
        };
        match self.follow(&key).await {
            Ok(error) => error,
            Err(error) => failed(error.to_string()),
        }
    }

    async fn follow(&mut self, key: &Secret) -> Result<JoinError, LocalApiError> {
        let mut bus = self.context.api.watch().await?;
        self.log_in(key).await?;
        let reports = Arc::clone(&self.context.reports);
        loop {
            let never = Instant::now() + Duration::from_secs(3600);
            let error = select! {
                notify = bus.next() => match notify? {
                    Some(notify) => self.hear(notify),
                    None => {
                        bus = self.reopen().await?;
                        None
                    }
                },
                () = reports.requested.notified() => self.retry_now().await?,
                () = reports.unresponsive.notified() => self.check_daemon().await?,
                Some(()) = self.removals.recv() => Some(self.removed("the control server does not know this machine any more")),
                Some(selected) = self.exit_node.attempt.join_next() => {
                    self.exit_node_selected(selected.unwrap_or_else(|lost| Err(lost.to_string())));
                    None
                }
                () = sleep_until(self.exit_node.due.unwrap_or(never)) => {
                    self.select_exit_node();
                    None
                }
                () = sleep_until(self.control_deadline.unwrap_or(never)), if self.control_deadline.is_some() => {
                    self.control_deadline = None;
                    let (control, seconds) = (self.control(), CONTROL_SILENCE.as_secs());
                    self.unavailable(JoinError::ControlSilent { control, seconds });
                    None
                }
            };
            if let Some(error) = error {
                return Ok(error);
            }
        }
    }

    async fn reopen(&self) -> Result<Bus, LocalApiError> {
        sleep(REOPEN_PAUSE).await;
        self.context.api.watch().await
    }

    async fn log_in(&mut self, key: &Secret) -> Result<(), LocalApiError> {
        self.began = Instant::now();
        self.control_deadline = Some(self.began + CONTROL_SILENCE);
        self.registered = true;
        self.context.api.start(key, &self.context.prefs).await?;
        self.context.api.login().await
    }

    /// What a notification means. An error that it returns is one that tailscaled does not recover from by itself.
    fn hear(&mut self, mut notify: Notify) -> Option<JoinError> {
        let change = notify.take_netmap_change();
        self.context.netmap.send_if_modified(|netmap| netmap.apply(change));
        for peer in notify.established_sessions() {
            self.context.connectivity.session_established(peer);
        }
        if let Some(reason) = notify.err_message {
            return self.refused(&reason);
        }
        if notify.browse_to_url.is_some_and(|url| !url.is_empty()) {
            // A new control client registers by the node key alone: that it was not accepted means that it is unknown.
            return Some(if self.joined {
                self.removed("the tailnet does not know this machine any more")
            } else {
                self.registered = false;
                JoinError::InteractiveLoginRequired
            });
        }
        if let Some(health) = notify.health {
            self.examine(&health);
        }
        match notify.state {
            Some(State::Running) => self.running(),
            Some(State::Starting) if !self.joined => self.warm_up(),
            Some(State::NeedsMachineAuth) => self.unavailable(JoinError::ApprovalRequired),
            // Before the login it is always so; after it, the control server has logged the machine out.
            Some(State::NeedsLogin) if self.joined => {
                return Some(self.removed("the control server has logged this machine out"));
            }
            _ => {}
        }
        None
    }

    /// Opens what the first requests need, beside the rest of the login.
    fn warm_up(&mut self) {
        let Context {
            connectivity,
            netmap,
            likely,
            warm,
            ..
        } = self.context.clone();
        let near = Some(self.began.elapsed()).filter(|took| *took < NEAR_LOGIN);
        // Replacing the set ends what an earlier start began.
        self.warming = JoinSet::new();
        self.warming.spawn(async move {
            let likely: Vec<_> = {
                let netmap = netmap.borrow();
                let addresses = |target: &String| match target.parse() {
                    Ok(address) => vec![address],
                    Err(_) => netmap.addresses_of(target).unwrap_or_default(),
                };
                likely.iter().flat_map(addresses).collect()
            };
            connectivity.warm_up(&likely, near).await;
            warm.send_replace(true);
        });
    }

    fn running(&mut self) {
        self.control_deadline = None;
        if self.joined {
            return;
        }
        self.joined = true;
        self.context.minutes.joined();
        self.context.connectivity.joined();
        // Peers that are off must not hold up INIT for longer than the login itself took.
        let (warm, patience) = (
            self.context.warm.clone(),
            self.began.elapsed().clamp(MIN_WARM_UP, MAX_WARM_UP),
        );
        self.warming.spawn(async move {
            sleep(patience).await;
            warm.send_replace(true);
        });
        match &self.context.exit_node {
            Some(_) => self.select_exit_node(),
            None => self.available(),
        }
    }

    /// The tailnet can be used.
    fn available(&mut self) {
        let name = self.context.netmap.borrow().own_name().to_owned();
        let address = self.context.netmap.borrow().own_addresses().first().copied();
        let address = address.map(|address| format!(" ({address})")).unwrap_or_default();
        let name = if name.is_empty() {
            &self.context.prefs.hostname
        } else {
            &name
        };
        tracing::info!(
            "joined tailnet as {}{address} in {} ms",
            name.split('.').next().unwrap_or(name),
            self.began.elapsed().as_millis()
        );
        if self.locked_out {
            return self.unavailable(JoinError::LockedOut);
        }
        let since = Instant::now();
        self.context.state.send_replace(TailnetState::Running { since });
    }

    fn select_exit_node(&mut self) {
        self.exit_node.due = None;
        let Some(exit_node) = self.context.exit_node.clone() else {
            return;
        };
        if self.exit_node.in_use || !self.exit_node.attempt.is_empty() || !self.joined {
            return;
        }
        let (api, netmap) = (self.context.api.clone(), self.context.netmap.subscribe());
        self.exit_node
            .attempt
            .spawn(async move { exit_node.select(&api, &netmap).await });
    }

    fn exit_node_selected(&mut self, selected: Result<String, String>) {
        let Some(ExitNode { node, required, .. }) = self.context.exit_node.clone() else {
            return;
        };
        match selected {
            Ok(id) => {
                tracing::info!("using the exit node '{node}'");
                self.exit_node.in_use = true;
                self.context.netmap.send_modify(|netmap| netmap.set_exit_node(Some(id)));
                if !self.is_running() {
                    self.available();
                }
            }
            Err(reason) => {
                let first = self.exit_node.backoff.failures() == 0;
                self.exit_node.due = Some(Instant::now() + self.exit_node.backoff.next_pause());
                // tailscaled's SOCKS5 server would send what no peer covers out by the function's own network: while a
                // required node is missing, nothing may be dialled. The machine stays, and the node is tried again.
                if required {
                    self.unavailable(JoinError::ExitNodeUnavailable { node, reason });
                } else if first {
                    tracing::warn!("continuing without the exit node '{node}', which is tried again: {reason}");
                    self.available();
                }
            }
        }
    }

    fn refused(&mut self, reason: &str) -> Option<JoinError> {
        // tailscaled closes the stream after this one; nothing is wrong with the tailnet.
        if reason.contains("fell behind") {
            return None;
        }
        self.control_deadline = None;
        let Some(error) = JoinError::from_refusal(reason) else {
            let note = format!("the control server limits how fast machines may join: {reason}");
            tracing::warn!("{note}");
            if !self.joined {
                self.context
                    .state
                    .send_replace(TailnetState::Starting { note: Some(note) });
            }
            return None;
        };
        if self.joined {
            return Some(self.removed(&format!(
                "the control server does not renew this machine's login: {reason}"
            )));
        }
        // No machine was registered: there is nothing to log out.
        self.registered = false;
        Some(error)
    }

    /// tailscaled keeps trying by itself; the results of its attempts show in its health alone.
    fn examine(&mut self, health: &Health) {
        // It may be reported before tailscaled is in the tailnet.
        self.locked_out = health.locked_out();
        if self.joined {
            let was_locked_out = *self.context.state.borrow() == TailnetState::Unavailable(JoinError::LockedOut);
            if self.locked_out {
                self.unavailable(JoinError::LockedOut);
            } else if was_locked_out {
                self.available();
            }
            return;
        }
        if health.network_down() {
            return self.unavailable(JoinError::NoNetwork);
        }
        if let Some(reason) = health.control_unreachable() {
            let (control, reason) = (self.control(), reason.to_owned());
            self.unavailable(JoinError::ControlUnreachable { control, reason });
        }
    }

    /// The tailnet does not know this machine any more. Requests wait for another login; a log-out would only make them wait
    /// longer.
    fn removed(&mut self, reason: &str) -> JoinError {
        self.registered = false;
        let note = Some(format!("{reason}; logging in again"));
        self.context.state.send_replace(TailnetState::Starting { note });
        JoinError::NodeRemoved {
            reason: reason.to_owned(),
        }
    }

    /// A request wants the tailnet: tailscaled's own pauses stand still while the environment is frozen.
    async fn retry_now(&mut self) -> Result<Option<JoinError>, LocalApiError> {
        let unreachable = matches!(
            *self.context.state.borrow(),
            TailnetState::Unavailable(
                JoinError::ControlUnreachable { .. } | JoinError::ControlSilent { .. } | JoinError::NoNetwork
            )
        );
        if unreachable && self.attempts.try_acquire(&self.context.clock) {
            self.context.api.login().await?;
        } else if self.exit_node.due.is_some() && self.attempts.try_acquire(&self.context.clock) {
            self.select_exit_node();
        } else {
            // Nothing to wait for.
            self.context.state.send_modify(|_| ());
        }
        Ok(None)
    }

    async fn check_daemon(&mut self) -> Result<Option<JoinError>, LocalApiError> {
        self.suspected = true;
        self.context.api.awake().await?;
        self.suspected = false;
        Ok(None)
    }

    fn is_running(&self) -> bool {
        matches!(*self.context.state.borrow(), TailnetState::Running { .. })
    }

    fn unavailable(&mut self, error: JoinError) {
        self.control_deadline = None;
        let state = TailnetState::Unavailable(error);
        let known = *self.context.state.borrow() == state;
        if !known && let TailnetState::Unavailable(error) = &state {
            tracing::error!("not in the tailnet: {error}");
        }
        self.context.state.send_replace(state);
    }

    fn control(&self) -> String {
        let configured = &self.context.prefs.control_url;
        if configured.is_empty() { TAILSCALE } else { configured }.to_owned()
    }
}
