//! Where the function stands with the tailnet, and how the rest of the extension waits for it and triggers attempts.

use std::{fmt, sync::Arc};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use crate::error::JoinError;

/// The code of a login that is under way.
const LOGIN_PENDING: &str = "LoginPending";

/// When an environment joins the tailnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// While it starts: INIT waits for it.
    Init,
    /// INIT begins it, and does not wait.
    Background,
    /// The first connection begins it.
    Lazy,
}

/// Where the function stands with the tailnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TailnetState {
    /// tailscaled starts or logs in.
    Starting {
        /// Why that takes longer than usual, if it does.
        note: Option<String>,
    },
    /// In the tailnet.
    Running {
        /// Since when.
        since: Instant,
    },
    /// Not in the tailnet, and waiting will not change that soon.
    Unavailable(JoinError),
}

/// Why the tailnet cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// A stable code.
    pub code: &'static str,
    /// What happened and what fixes it.
    pub message: String,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<&JoinError> for Unavailable {
    fn from(error: &JoinError) -> Self {
        Self {
            code: error.code(),
            message: error.message(),
        }
    }
}

impl TailnetState {
    /// Why the tailnet cannot be used; `None` if it can.
    pub fn unavailable(&self) -> Option<Unavailable> {
        match self {
            Self::Running { .. } => None,
            Self::Unavailable(error) => Some(error.into()),
            Self::Starting { note } => {
                let message = note.as_deref().unwrap_or("the login to the tailnet is still under way");
                Some(Unavailable {
                    code: LOGIN_PENDING,
                    message: message.to_owned(),
                })
            }
        }
    }
}

/// What the rest of the extension reports to the supervisor. A report that is repeated says nothing new.
#[derive(Debug, Default)]
pub struct Reports {
    /// Somebody wants to use the tailnet while it is not available.
    pub(crate) requested: Notify,
    /// tailscaled does not respond.
    pub(crate) unresponsive: Notify,
    /// Whether anybody has wanted the tailnet yet.
    pub(crate) wanted: watch::Sender<bool>,
}

/// The state of the tailnet. Clones share it.
#[derive(Debug, Clone)]
pub struct Tailnet {
    state: watch::Receiver<TailnetState>,
    /// What the first requests need has been opened.
    warm: watch::Receiver<bool>,
    reports: Arc<Reports>,
}

impl Tailnet {
    /// What is known through these.
    pub fn new(state: watch::Receiver<TailnetState>, warm: watch::Receiver<bool>, reports: Arc<Reports>) -> Self {
        Self { state, warm, reports }
    }

    /// The state now.
    pub fn state(&self) -> TailnetState {
        self.state.borrow().clone()
    }

    /// Somebody wants the tailnet: a login that waits for that begins.
    pub fn want(&self) {
        self.reports
            .wanted
            .send_if_modified(|wanted| !std::mem::replace(wanted, true));
    }

    /// Whether anybody has wanted it yet.
    pub fn is_wanted(&self) -> bool {
        *self.reports.wanted.borrow()
    }

    /// Waits while the login is under way, and returns the state then, or at `deadline`.
    pub async fn wait_until_settled(&self, deadline: Instant) -> TailnetState {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, TailnetState::Starting { .. }));
        // Either end of the wait is fine: the state then is the answer.
        let _ = timeout_at(deadline, settled).await;
        self.state()
    }

    /// Waits for a working tailnet. Returns the start of the current login, or the reason there is none by `deadline`; in
    /// that case the supervisor has been asked to retry.
    pub async fn wait_until_running(&self, deadline: Instant) -> Result<Instant, Unavailable> {
        let state = self.wait_until_settled(deadline).await;
        if let TailnetState::Running { since } = state {
            return Ok(since);
        }
        self.reports.requested.notify_one();
        // A state that changed in between is told as it was.
        Err(state.unavailable().unwrap_or(Unavailable {
            code: LOGIN_PENDING,
            message: String::new(),
        }))
    }

    /// Waits until what the first requests need has been opened, or `deadline`.
    pub async fn wait_until_warm(&self, deadline: Instant) {
        let mut warm = self.warm.clone();
        // It is worth waiting for, and no more.
        let _ = timeout_at(deadline, warm.wait_for(|warm| *warm)).await;
    }

    /// Asks for an attempt, and waits for its result until `deadline`.
    pub async fn retry(&self, deadline: Instant) -> TailnetState {
        let mut state = self.state.clone();
        state.mark_unchanged();
        self.reports.requested.notify_one();
        let _ = timeout_at(deadline, state.changed()).await;
        self.wait_until_settled(deadline).await
    }

    /// Waits for the end of the login that began at `since`.
    pub async fn ended(&self, since: Instant) {
        let mut state = self.state.clone();
        // A supervisor that is gone has ended it too.
        let _ = state.wait_for(|state| *state != TailnetState::Running { since }).await;
    }

    /// tailscaled did not respond in time: the supervisor finds out whether it is stuck.
    pub fn report_unresponsive(&self) {
        self.reports.unresponsive.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    const STARTING: TailnetState = TailnetState::Starting { note: None };

    fn tailnet(state: TailnetState) -> (watch::Sender<TailnetState>, Tailnet, Arc<Reports>) {
        let (states, state) = watch::channel(state);
        let reports = Arc::<Reports>::default();
        let tailnet = Tailnet::new(state, watch::channel(false).1, Arc::clone(&reports));
        (states, tailnet, reports)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(8)
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_slow_login_ends_at_its_deadline_and_asks_for_a_retry() {
        let (_states, tailnet, reports) = tailnet(STARTING);
        let unavailable = tailnet.wait_until_running(soon()).await.unwrap_err();
        assert_eq!(
            unavailable.to_string(),
            "LoginPending: the login to the tailnet is still under way"
        );
        reports.requested.notified().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_ends_when_the_tailnet_is_there() {
        let (states, tailnet, _) = tailnet(STARTING);
        let waiting = tokio::spawn({
            let tailnet = tailnet.clone();
            async move { tailnet.wait_until_running(soon()).await }
        });
        let since = Instant::now();
        states.send_replace(TailnetState::Running { since });
        assert_eq!(waiting.await.unwrap(), Ok(since));
        let ended = tokio::spawn(async move { tailnet.ended(since).await });
        states.send_replace(STARTING);
        ended.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_known_error_is_returned_at_once() {
        let (_states, tailnet, _) = tailnet(TailnetState::Unavailable(JoinError::ApprovalRequired));
        let began = Instant::now();
        let unavailable = tailnet.wait_until_running(soon()).await.unwrap_err();
        assert_eq!(
            (unavailable.code, began.elapsed()),
            ("ApprovalRequired", Duration::ZERO)
        );
        assert!(unavailable.message.contains("; fix: "), "{unavailable:?}");
    }
}
