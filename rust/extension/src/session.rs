//! One login to the tailnet, and what becomes of it for as long as the daemon lives.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    select,
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    attempts::Attempts,
    bus::{Bus, Health, Notify, State},
    exit_node::ExitNode,
    link::Link,
    local_api::{LocalApi, LocalApiError, Prefs},
    owner::{Notice, Owner},
    phase::Phase,
    ping,
    secret::Secret,
    trouble::{LOGGED_OUT, MAYBE_REMOVED, REMOVED, Trouble},
};

/// How long the daemon may take until its LocalAPI answers (measured: 20 ms).
const LISTENING_LIMIT: Duration = Duration::from_secs(5);
/// How long the LocalAPI may take for a simple question before the daemon is taken for stuck.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// How long the control server may be silent before requests are told so. INIT has 10 s.
const SILENCE: Duration = Duration::from_secs(7);
/// How long a login may take that the daemon begins when it is switched on (Headscale's: 2 s).
const SWITCHING_ON: Duration = Duration::from_secs(5);
/// Tailscale's own control server, which is used where no other is named.
const TAILSCALE: &str = "https://controlplane.tailscale.com";

/// A login, and the daemon's notifications about it.
pub(crate) struct Session<'a> {
    api: LocalApi,
    link: Arc<Link>,
    prefs: Prefs,
    exit_node: Option<ExitNode>,
    phases: watch::Sender<Phase>,
    notices: &'a mut mpsc::Receiver<Notice>,
    /// Where the daemon tells that the control server does not know this machine.
    disowned: mpsc::Receiver<()>,
    /// When the daemon was last switched off and on, by the wall clock: that brings a login too.
    switched_on: SystemTime,
    /// The attempts to log in.
    attempts: Attempts,
    /// The first link under way.
    opening: JoinSet<()>,
    /// When the control server's silence becomes a trouble; never where it has spoken.
    silent_at: Option<Instant>,
    /// A login was asked for: the control server may know this machine.
    sought: bool,
    /// The daemon is suspected to be stuck.
    suspected: bool,
}

impl<'a> Session<'a> {
    pub(crate) fn new<P, K>(owner: &'a mut Owner<P, K>, disowned: mpsc::Receiver<()>) -> Self {
        Self {
            api: owner.api.clone(),
            link: Arc::clone(&owner.link),
            prefs: owner.prefs.clone(),
            exit_node: owner.exit_node.clone(),
            phases: owner.phases.clone(),
            notices: &mut owner.notices,
            disowned,
            switched_on: SystemTime::UNIX_EPOCH,
            attempts: Attempts::new(),
            opening: JoinSet::new(),
            silent_at: None,
            sought: false,
            suspected: false,
        }
    }

    /// Whether there may be a machine in the tailnet, and a daemon that can log it out.
    pub(crate) fn can_leave(&self) -> bool {
        self.sought && !self.suspected
    }

    /// The tailnet has removed this machine, or else the control server cannot be told that it goes: a log-out would only
    /// make requests wait, as they do from now on for another login.
    pub(crate) fn leave_behind(&mut self, words: &str) -> Trouble {
        self.sought = false;
        let note = Some(words.to_owned());
        self.phases.send_replace(Phase::Starting { note });
        Trouble::sent_away(words)
    }

    /// Logs in, then follows the daemon's state for as long as it can. Returns why it could not.
    pub(crate) async fn run(&mut self, key: JoinHandle<Result<Secret, Trouble>>) -> Trouble {
        let daemon = |words: String| Trouble::Daemon { words };
        match timeout(LISTENING_LIMIT, self.api.listening()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return daemon(format!("tailscaled's LocalAPI cannot be awaited: {error}")),
            Err(_) => {
                let seconds = LISTENING_LIMIT.as_secs();
                return daemon(format!("tailscaled's LocalAPI did not answer within {seconds} s"));
            }
        }
        let key = match key.await {
            Ok(Ok(key)) => key,
            Ok(Err(trouble)) => return trouble,
            Err(error) => return daemon(format!("BUG: the key's reader failed: {error}")),
        };
        match self.follow(&key).await {
            Ok(trouble) => trouble,
            Err(error) => daemon(error.to_string()),
        }
    }

    async fn follow(&mut self, key: &Secret) -> Result<Trouble, LocalApiError> {
        let mut bus = self.open_bus().await?;
        self.log_in(key).await?;
        loop {
            // Far away where nothing is awaited: the branch is switched off then.
            let silence = self.silent_at.unwrap_or_else(Instant::now);
            let trouble = select! {
                notify = bus.next() => match notify? {
                    Some(notify) => self.hear(notify).await?,
                    // It drops a listener that falls behind, as one does that was frozen.
                    None => {
                        bus = self.open_bus().await?;
                        None
                    }
                },
                Some(notice) = self.notices.recv() => self.react(notice).await?,
                Some(()) = self.disowned.recv() => self.removed(),
                () = sleep_until(silence), if self.silent_at.is_some() => {
                    self.silent_at = None;
                    self.down(Trouble::ControlSilent { control: self.control(), seconds: SILENCE.as_secs() });
                    None
                }
            };
            if let Some(trouble) = trouble {
                return Ok(trouble);
            }
        }
    }

    async fn open_bus(&self) -> Result<Bus, LocalApiError> {
        // A daemon that takes the connection but says nothing is stuck.
        match timeout(ANSWER_LIMIT, self.api.watch()).await {
            Ok(bus) => bus,
            Err(_) => Err(LocalApiError::Silent { limit: ANSWER_LIMIT }),
        }
    }

    async fn log_in(&mut self, key: &Secret) -> Result<(), LocalApiError> {
        self.attempts.begin();
        self.silent_at = Some(Instant::now() + SILENCE);
        self.sought = true;
        self.link.use_key(key);
        self.api.start(key, &self.prefs).await?;
        self.api.login().await
    }

    /// What a notification means. A trouble that it returns is one that the daemon would not come out of.
    async fn hear(&mut self, notify: Notify) -> Result<Option<Trouble>, LocalApiError> {
        if let Some(words) = notify.err_message {
            return Ok(self.refused(&words));
        }
        if notify.browse_to_url.is_some_and(|url| !url.is_empty()) && !self.is_up() {
            return Ok(Some(Trouble::NeedsPerson));
        }
        if let Some(health) = notify.health {
            self.examine(&health);
        }
        match notify.state {
            Some(State::Running) => self.running().await,
            Some(State::Starting) => {
                // Dropping the set ends what an earlier start began.
                self.opening = JoinSet::new();
                if self.is_up() {
                    self.switched_on = SystemTime::now();
                } else {
                    self.opening.spawn(ping::open_link(self.api.clone()));
                }
                Ok(None)
            }
            Some(State::NeedsMachineAuth) => {
                self.down(Trouble::NeedsApproval);
                Ok(None)
            }
            // Before the login it is always so; after it, the control server has sent the machine away.
            // (Stopped it is for a moment while its sessions are renewed: see link.rs.)
            Some(State::NeedsLogin) if self.is_up() => Ok(Some(Trouble::sent_away(LOGGED_OUT))),
            _ => Ok(None),
        }
    }

    async fn running(&mut self) -> Result<Option<Trouble>, LocalApiError> {
        self.silent_at = None;
        if self.is_up() {
            return Ok(None);
        }
        if let Some(exit_node) = &self.exit_node
            && let Err(words) = exit_node.take(&self.api).await
        {
            let node = exit_node.node.clone();
            if exit_node.required {
                // The daemon must end: its SOCKS5 server would send what no peer covers out by the function's network.
                return Ok(Some(Trouble::ExitNode { node, words }));
            }
            tracing::warn!("going without the exit node '{node}', which cannot be used: {words}");
        }
        tracing::info!("in the tailnet");
        self.attempts.succeeded();
        let (since, at) = (Instant::now(), SystemTime::now());
        self.phases.send_replace(Phase::Up { since, at });
        Ok(None)
    }

    fn refused(&mut self, words: &str) -> Option<Trouble> {
        // The daemon closes the stream after this one; nothing is wrong with the tailnet.
        if words.contains("fell behind") {
            return None;
        }
        self.silent_at = None;
        let trouble = Trouble::of_refusal(words);
        let refused = matches!(
            trouble,
            Some(Trouble::KeyRefused { .. } | Trouble::TagsRefused { .. } | Trouble::Refused { .. })
        );
        if self.is_up() && (refused || trouble.is_none()) {
            // One that was switched off and on asks again, perhaps with a key that serves once. Its machine is there.
            tracing::warn!("the tailnet does not renew the login, which goes on as it is: {words}");
            return None;
        }
        if refused {
            // No machine was made: there is nothing to log out of.
            self.sought = false;
        }
        if trouble.is_none() {
            let note = format!("the tailnet limits how fast machines may join: {words}");
            tracing::warn!("{note}");
            self.phases.send_replace(Phase::Starting { note: Some(note) });
        }
        trouble
    }

    /// The daemon keeps trying by itself; what its attempts come to shows in its health alone.
    fn examine(&mut self, health: &Health) {
        if self.is_up() {
            return;
        }
        if health.network_down() {
            return self.down(Trouble::NoNetwork);
        }
        if let Some(words) = health.control_never_reached() {
            let (control, words) = (self.control(), words.to_owned());
            self.down(Trouble::ControlUnreachable { control, words });
        }
    }

    /// The control server does not know this machine. A daemon that has just been switched on, to drop its sessions, is on
    /// its way to bring it back: ending it might leave that machine behind. If it fails, this is told again.
    fn removed(&mut self) -> Option<Trouble> {
        let since = self.switched_on.elapsed().unwrap_or(SWITCHING_ON);
        (since >= SWITCHING_ON).then(|| self.leave_behind(REMOVED))
    }

    async fn react(&mut self, notice: Notice) -> Result<Option<Trouble>, LocalApiError> {
        match notice {
            Notice::Asked => self.try_now().await.map(|()| None),
            Notice::Stale if self.is_up() => Ok(Some(self.leave_behind(MAYBE_REMOVED))),
            Notice::Stale => Ok(None),
            Notice::Mute => {
                self.suspected = true;
                let answer = timeout(ANSWER_LIMIT, self.api.netmap()).await;
                let answer = answer.map_err(|_| LocalApiError::Silent { limit: ANSWER_LIMIT })?;
                self.suspected = false;
                answer.map(|_| None)
            }
        }
    }

    /// The daemon's own pauses stand still while the environment is frozen: a request brings about the next attempt.
    async fn try_now(&mut self) -> Result<(), LocalApiError> {
        let unreachable = matches!(
            *self.phases.borrow(),
            Phase::Down(Trouble::ControlUnreachable { .. } | Trouble::ControlSilent { .. } | Trouble::NoNetwork)
        );
        if unreachable && self.attempts.may_begin() {
            return self.api.login().await;
        }
        // Nothing to wait for.
        self.phases.send_modify(|_| ());
        Ok(())
    }

    fn is_up(&self) -> bool {
        matches!(*self.phases.borrow(), Phase::Up { .. })
    }

    fn down(&mut self, trouble: Trouble) {
        self.silent_at = None;
        let phase = Phase::Down(trouble);
        // A statement of its own: the borrow is a lock, and sending while it is held would wait for ever.
        let known = *self.phases.borrow() == phase;
        if !known && let Phase::Down(trouble) = &phase {
            tracing::error!("not in the tailnet: {trouble}");
        }
        self.phases.send_replace(phase);
    }

    fn control(&self) -> String {
        let named = &self.prefs.control_url;
        if named.is_empty() { TAILSCALE } else { named }.to_owned()
    }
}
