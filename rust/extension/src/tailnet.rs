//! The tailnet as the rest of the extension sees it: where it stands, and whom to tell.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    select,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{
    config::Config,
    credentials::Keys,
    link::{Link, Look},
    local_api::{LocalApi, LocalApiError, Prefs},
    owner::{Notice, Owner},
    phase::{Phase, settled},
    tailscaled::Program,
};

/// How many notices may wait for the owner; more say nothing new.
const NOTICES: usize = 4;
/// After a freeze this long, a tailnet where nobody answers may have removed the machine (Tailscale does so with an
/// ephemeral one after 30 to 60 minutes, Headscale as its settings say: after one minute at the earliest).
const LONG_GAP: Duration = Duration::from_secs(60);
/// How long the owner may take to act on a notice.
const NOTICED: Duration = Duration::from_secs(1);
/// How long an invocation keeps the environment awake for an attempt to log in, beyond what it takes itself.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);

/// Owns the tailnet's owner.
pub struct Tailnet {
    handle: Handle,
    stop: oneshot::Sender<()>,
    owner: JoinHandle<()>,
}

/// What others need of the tailnet. Clones share it.
#[derive(Clone)]
pub struct Handle {
    phase: watch::Receiver<Phase>,
    api: LocalApi,
    link: Arc<Link>,
    notices: mpsc::Sender<Notice>,
}

impl Tailnet {
    /// Starts the daemon and the login, which go on by themselves.
    pub fn start(config: &Config, program: impl Program, keys: impl Keys) -> Self {
        let (phases, phase) = watch::channel(Phase::Starting { note: None });
        let (notices, noticed) = mpsc::channel(NOTICES);
        let (stop, stopped) = oneshot::channel();
        let api = program.local_api();
        let link = Arc::new(Link::new(api.clone()));
        let owner = Owner {
            program,
            api: api.clone(),
            link: Arc::clone(&link),
            prefs: prefs(config),
            exit_node: config.exit_node.clone(),
            keys: Arc::new(keys),
            phases,
            notices: noticed,
        };
        Self {
            handle: Handle {
                phase,
                api,
                link,
                notices,
            },
            stop,
            owner: tokio::spawn(owner.run(stopped)),
        }
    }

    /// What others need of the tailnet.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
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

impl Handle {
    /// Waits while the tailnet is on its way up, for `limit` at most, and says where it stands then.
    pub async fn settled(&mut self, limit: Duration) -> Phase {
        settled(&mut self.phase, limit).await
    }

    /// The daemon's LocalAPI.
    pub fn api(&self) -> &LocalApi {
        &self.api
    }

    /// The link that the daemon keeps to the tailnet.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Makes sure that the tailnet can be used now, and says since when it can; or why it cannot, and then whoever looks
    /// after it has been told that somebody wants it. A tailnet on its way up is waited for, for `wait` at most.
    pub async fn ready(&mut self, wait: Duration) -> Result<Instant, String> {
        let (since, at) = match self.settled(wait).await {
            Phase::Up { since, at } => (since, at),
            other => {
                self.tell(Notice::Asked);
                return Err(other.why_not().unwrap_or_default());
            }
        };
        select! {
            biased;
            // The machine was found to be removed: a look at what is being taken down would tell nothing.
            () = self.ended(since) => self.logged_in_again(wait).await,
            unknown = self.seems_unknown(at) => match unknown {
                Ok(false) => Ok(since),
                Ok(true) => {
                    self.tell(Notice::Stale);
                    // Whatever the phase is then, it is told below.
                    let _ = timeout(NOTICED, self.ended(since)).await;
                    self.logged_in_again(wait).await
                }
                Err(error) => {
                    self.tell(Notice::Mute);
                    Err(error.to_string())
                }
            },
        }
    }

    /// Looks after the link of the login at `login`. Tells whether the tailnet may have removed this machine: nobody answers after a long freeze,
    /// nor does the control server, which the daemon has asked anew in the course of the look.
    async fn seems_unknown(&self, login: SystemTime) -> Result<bool, LocalApiError> {
        match self.link.freshen(login).await? {
            Look::Unanswered { gap } if gap >= LONG_GAP => Ok(!self.api.netmap().await?.in_touch()),
            _ => Ok(false),
        }
    }

    /// Whether the tailnet is up, and has rested so long that a dial that comes before the look does no harm.
    pub(crate) fn has_rested(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Up { at, .. } if self.link.has_rested(at))
    }

    /// Waits for the end of the login of `since`. Another one has a daemon of its own, which knows nothing of what the last
    /// one found.
    pub async fn ended(&self, since: Instant) {
        let mut phase = self.phase.clone();
        // An owner that is gone has ended it too.
        let _ = phase.wait_for(|phase| !phase.is_up_since(since)).await;
    }

    /// An invocation begins, perhaps after a freeze: looks after the link, or after a login that failed before. Keeps
    /// the environment awake meanwhile, which costs the caller nothing.
    pub async fn invoked(&mut self) {
        if matches!(*self.phase.borrow_and_update(), Phase::Down(_)) {
            self.tell(Notice::Asked);
            // The attempt goes on when the limit has passed; the phase tells what came of it.
            let _ = timeout(ATTEMPT_LIMIT, self.phase.changed()).await;
            self.settled(ATTEMPT_LIMIT).await;
        } else if let Err(reason) = self.ready(ATTEMPT_LIMIT).await {
            tracing::debug!("the tailnet cannot be used: {reason}");
        }
    }

    /// The daemon did not answer in time: whoever looks after it finds out whether it is stuck.
    pub fn suspect(&self) {
        self.tell(Notice::Mute);
    }

    async fn logged_in_again(&mut self, wait: Duration) -> Result<Instant, String> {
        match self.settled(wait).await {
            Phase::Up { since, .. } => Ok(since),
            other => Err(other.why_not().unwrap_or_default()),
        }
    }

    fn tell(&self, notice: Notice) {
        // A full queue has enough to do; a closed one belongs to an environment that ends.
        let _ = self.notices.try_send(notice);
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
