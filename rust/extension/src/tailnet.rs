//! The one owner of the tailnet: starts tailscaled, logs in, watches, and starts it again when it ends.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    bus::{Notify, State},
    config::Config,
    credentials::Credentials,
    link::Link,
    local_api::{LocalApi, LocalApiError, Prefs},
    tailscaled::{Daemon, Paths},
};

/// How long the daemon may take until its LocalAPI answers (measured: 20 ms).
const LISTENING_LIMIT: Duration = Duration::from_secs(5);
/// How long a log-out may take: SHUTDOWN leaves 2 s for everything.
const LOGOUT_LIMIT: Duration = Duration::from_millis(1200);
/// The first pause before the daemon is started again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A daemon that lived this long starts the count of pauses anew.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// Where the function stands with the tailnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// On its way up.
    Starting {
        /// What ended the time before, if there was one.
        after: Option<String>,
    },
    /// In the tailnet.
    Up {
        /// Since when.
        since: Instant,
    },
    /// Not in the tailnet, and waiting will not change it soon.
    Down {
        /// Why, and where to mend it.
        reason: String,
    },
}

/// The tailnet as the rest of the extension sees it.
pub struct Tailnet {
    phase: watch::Receiver<Phase>,
    api: LocalApi,
    link: Arc<Link>,
    stop: oneshot::Sender<()>,
    owner: JoinHandle<()>,
}

impl Tailnet {
    /// Starts tailscaled and the login, which go on by themselves.
    pub fn start(config: &Config, paths: Paths) -> Self {
        let (phases, phase) = watch::channel(Phase::Starting { after: None });
        let (stop, stopped) = oneshot::channel();
        let api = LocalApi::new(&paths.socket);
        let credentials = Arc::new(Credentials::new(config.secret_id.clone()));
        let owner = Owner {
            paths,
            api: api.clone(),
            prefs: prefs(config),
            credentials,
            phases,
        };
        Self {
            phase,
            link: Arc::new(Link::new(api.clone())),
            api,
            stop,
            owner: tokio::spawn(owner.run(stopped)),
        }
    }

    /// The phase, as it is and as it changes.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// The daemon's LocalAPI.
    pub fn api(&self) -> &LocalApi {
        &self.api
    }

    /// The link that the daemon keeps to the tailnet.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// After a freeze the link may have died: looks, and renews it if so. Nothing to do while it is not up.
    pub async fn freshen(&self) {
        if !matches!(*self.phase.borrow(), Phase::Up { .. }) {
            return;
        }
        if let Err(error) = self.link.freshen().await {
            tracing::warn!("the link to the tailnet could not be looked at: {error}");
        }
    }

    /// Logs out and ends tailscaled, within a second and a half.
    pub async fn stop(self) {
        // An owner that is gone already has nothing left to stop.
        let _ = self.stop.send(());
        if let Err(error) = self.owner.await {
            tracing::error!("the tailnet's owner failed: {error}");
        }
    }
}

/// Waits while the tailnet is on its way up, for `limit` at most, and says where it stands then.
pub async fn settled(phase: &mut watch::Receiver<Phase>, limit: Duration) -> Phase {
    // Either end of the wait is fine: the phase that is current then is the answer.
    let _ = timeout(limit, phase.wait_for(|phase| !matches!(phase, Phase::Starting { .. }))).await;
    phase.borrow().clone()
}

fn prefs(config: &Config) -> Prefs {
    Prefs {
        control_url: config.control_url.clone().unwrap_or_default(),
        want_running: true,
        hostname: config.hostname.clone(),
        route_all: true,
        corp_dns: true,
        shields_up: true,
        advertise_tags: config.advertise_tags.clone(),
    }
}

struct Owner {
    paths: Paths,
    api: LocalApi,
    prefs: Prefs,
    credentials: Arc<Credentials>,
    phases: watch::Sender<Phase>,
}

/// How one life of the daemon ended.
enum End {
    Failed(String),
    Stopped,
}

impl Owner {
    async fn run(self, mut stopped: oneshot::Receiver<()>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let End::Failed(reason) = self.one_life(&mut stopped).await else {
                return;
            };
            if began.elapsed() >= LONG_LIFE {
                pause = FIRST_PAUSE;
            }
            tracing::error!("{reason}; starting tailscaled again in {} ms", pause.as_millis());
            self.phases.send_replace(Phase::Starting { after: Some(reason) });
            tokio::select! {
                () = sleep(pause) => {}
                _ = &mut stopped => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn one_life(&self, stopped: &mut oneshot::Receiver<()>) -> End {
        // Secrets Manager takes longer than the daemon: it is asked first.
        let key = tokio::spawn({
            let credentials = Arc::clone(&self.credentials);
            async move { credentials.key().await }
        });
        let mut daemon = match Daemon::start(&self.paths) {
            Ok(daemon) => daemon,
            Err(error) => return End::Failed(format!("{} cannot be started: {error}", self.paths.program.display())),
        };
        let key = async {
            key.await
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())
        };
        let end = tokio::select! {
            reason = daemon.ended() => return End::Failed(reason),
            reason = self.session(key) => End::Failed(reason),
            _ = stopped => End::Stopped,
        };
        if matches!(end, End::Stopped) {
            self.log_out().await;
        }
        if let Err(error) = daemon.kill().await {
            tracing::error!("tailscaled could not be ended: {error}");
        }
        end
    }

    /// Logs in, then follows the daemon's state for as long as it can. Returns why it could not.
    async fn session<E: ToString>(&self, key: impl Future<Output = Result<crate::secret::Secret, E>>) -> String {
        match timeout(LISTENING_LIMIT, self.api.listening()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return format!("tailscaled's LocalAPI cannot be awaited: {error}"),
            Err(_) => {
                return format!(
                    "tailscaled's LocalAPI did not answer within {} s",
                    LISTENING_LIMIT.as_secs()
                );
            }
        }
        let key = match key.await {
            Ok(key) => key,
            Err(error) => return error.to_string(),
        };
        match self.follow(&key).await {
            Ok(()) => "tailscaled closed its stream of notifications".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    async fn follow(&self, key: &crate::secret::Secret) -> Result<(), LocalApiError> {
        let mut bus = self.api.watch().await?;
        self.api.start(key, &self.prefs).await?;
        self.api.login().await?;
        while let Some(notify) = bus.next().await? {
            // A statement of its own: the borrow is a lock, and sending while it is held would wait for ever.
            let next = next_phase(&self.phases.borrow(), notify);
            if let Some(phase) = next {
                report(&phase);
                self.phases.send_replace(phase);
            }
        }
        Ok(())
    }

    async fn log_out(&self) {
        if matches!(*self.phases.borrow(), Phase::Starting { .. }) {
            return;
        }
        match timeout(LOGOUT_LIMIT, self.api.logout()).await {
            Ok(Ok(())) => tracing::debug!("logged out of the tailnet"),
            Ok(Err(error)) => tracing::warn!("the log-out failed: {error}"),
            Err(_) => tracing::warn!("the log-out took longer than {} ms", LOGOUT_LIMIT.as_millis()),
        }
    }
}

/// What a notification changes.
fn next_phase(current: &Phase, notify: Notify) -> Option<Phase> {
    let down = |reason: String| Some(Phase::Down { reason });
    if let Some(message) = notify.err_message {
        return down(format!(
            "the login to the tailnet failed: {message}; check the auth key in the secret (wrong, expired, or used up)"
        ));
    }
    if notify.browse_to_url.is_some_and(|url| !url.is_empty()) {
        let reason = "the tailnet asks for a person's login: the secret must hold a Tailscale auth key that is valid";
        return down(reason.to_owned());
    }
    match notify.state? {
        State::Running if matches!(current, Phase::Up { .. }) => None,
        State::Running => Some(Phase::Up { since: Instant::now() }),
        State::NeedsMachineAuth => down(
            "an administrator of the tailnet must approve this machine (or use a pre-approved auth key)".to_owned(),
        ),
        // Before the login it is always so; after it, the control server has sent the node away.
        State::NeedsLogin | State::Stopped if matches!(current, Phase::Up { .. }) => {
            down("the tailnet has logged this machine out".to_owned())
        }
        _ => None,
    }
}

fn report(phase: &Phase) {
    match phase {
        Phase::Starting { .. } => {}
        Phase::Up { .. } => tracing::info!("in the tailnet"),
        Phase::Down { reason } => tracing::error!("not in the tailnet: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const STARTING: Phase = Phase::Starting { after: None };

    fn state(state: State) -> Notify {
        Notify {
            state: Some(state),
            ..Notify::default()
        }
    }

    #[tokio::test]
    async fn running_means_up_and_only_once() {
        let up = next_phase(&STARTING, state(State::Running)).unwrap();
        assert!(matches!(up, Phase::Up { .. }));
        assert_eq!(next_phase(&up, state(State::Running)), None);
    }

    #[test]
    fn needing_a_login_is_normal_before_it_and_a_trouble_after() {
        assert_eq!(next_phase(&STARTING, state(State::NeedsLogin)), None);
        let up = Phase::Up { since: Instant::now() };
        assert!(matches!(
            next_phase(&up, state(State::NeedsLogin)),
            Some(Phase::Down { .. })
        ));
    }

    #[test]
    fn a_refused_key_brings_the_tailnet_down_with_the_servers_words() {
        let notify = Notify {
            err_message: Some("invalid pre auth key".into()),
            ..Notify::default()
        };
        let Some(Phase::Down { reason }) = next_phase(&STARTING, notify) else {
            panic!("not down")
        };
        assert!(reason.contains("invalid pre auth key"), "{reason}");
    }

    #[tokio::test]
    async fn the_wait_for_a_slow_tailnet_ends_at_its_limit() {
        tokio::time::pause();
        let (_phases, mut phase) = watch::channel(STARTING);
        assert_eq!(settled(&mut phase, Duration::from_secs(8)).await, STARTING);
    }

    #[tokio::test]
    async fn the_wait_ends_when_the_tailnet_is_up() {
        let (phases, mut phase) = watch::channel(STARTING);
        let waiting = tokio::spawn(async move { settled(&mut phase, Duration::from_secs(8)).await });
        let up = Phase::Up { since: Instant::now() };
        phases.send_replace(up.clone());
        assert_eq!(waiting.await.unwrap(), up);
    }
}
