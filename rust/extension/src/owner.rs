//! Keeps a daemon: starts it, and starts it again when it ends, or when another login may help.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    pin, select,
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};

use crate::{
    credentials::Keys,
    exit_node::ExitNode,
    link::Link,
    local_api::{LocalApi, Prefs},
    phase::Phase,
    session::Session,
    tailscaled::{Program, Running},
    trouble::{Course, Trouble},
};

/// How long a log-out may take: SHUTDOWN leaves 2 s for everything.
const LOGOUT_LIMIT: Duration = Duration::from_millis(1200);
/// How long a daemon may take to end after its LocalAPI has broken off: how it ended says more than that.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// A daemon that lived this long starts the count of pauses anew.
const LONG_LIFE: Duration = Duration::from_secs(60);
/// After so many short lives in a row, requests are no longer made to wait for the next one.
const SHORT_LIVES: u32 = 3;
/// The pauses before the daemon is started again after it died; they double.
const RESTARTS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(10)];
/// The pauses before another login; they double.
const LOGINS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// How often the secret is read again at most, where only another one helps.
const REREAD: Duration = Duration::from_secs(4);

/// What the rest of the extension has to tell the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Somebody wants to use the tailnet while it is not there.
    Asked,
    /// After a long freeze nobody answers: control may have removed this machine.
    Stale,
    /// The daemon does not answer.
    Mute,
}

/// Owns the daemon for the life of the environment.
pub(crate) struct Owner<P, K> {
    pub(crate) program: P,
    pub(crate) api: LocalApi,
    pub(crate) link: Arc<Link>,
    pub(crate) prefs: Prefs,
    pub(crate) exit_node: Option<ExitNode>,
    pub(crate) keys: Arc<K>,
    pub(crate) phases: watch::Sender<Phase>,
    pub(crate) notices: mpsc::Receiver<Notice>,
}

/// How one life of the daemon ended.
enum End {
    Failed(Trouble),
    Stopped,
}

/// How often it went wrong in a row.
#[derive(Default)]
struct Failures {
    deaths: u32,
    logins: u32,
}

impl<P: Program, K: Keys> Owner<P, K> {
    pub(crate) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut failures = Failures::default();
        loop {
            let (began, by_the_wall) = (Instant::now(), SystemTime::now());
            let End::Failed(trouble) = self.one_life(&mut stopped).await else {
                return;
            };
            // The one clock stands still in a freeze, the other may be set.
            if began.elapsed().max(by_the_wall.elapsed().unwrap_or_default()) >= LONG_LIFE {
                failures = Failures::default();
            }
            tracing::error!("not in the tailnet: {trouble}");
            select! {
                () = self.recover(trouble, &mut failures) => {}
                _ = &mut stopped => return,
            }
        }
    }

    async fn one_life(&mut self, stopped: &mut oneshot::Receiver<()>) -> End {
        // Secrets Manager takes longer than the daemon: it is asked first.
        let keys = Arc::clone(&self.keys);
        let key = tokio::spawn(async move { keys.login_key().await });
        let asking = key.abort_handle();
        let mut daemon = match self.program.start() {
            Ok(daemon) => daemon,
            Err(words) => return End::Failed(Trouble::Daemon { words }),
        };
        let mut session = Session::new(self, daemon.disowned());
        let end = select! {
            words = daemon.ended() => return End::Failed(Trouble::Daemon { words }),
            trouble = session.run(key) => End::Failed(trouble),
            _ = stopped => End::Stopped,
        };
        asking.abort();
        if matches!(end, End::Failed(Trouble::Daemon { .. }))
            && let Ok(words) = timeout(LAST_WORDS, daemon.ended()).await
        {
            return End::Failed(Trouble::Daemon { words });
        }
        // Another daemon would be another machine: the one that was logged in must not stay behind. One that does not
        // do what it should cannot log out either.
        if session.can_leave() && !matches!(end, End::Failed(Trouble::Daemon { .. })) {
            self.log_out().await;
        }
        if let Err(error) = daemon.kill().await {
            tracing::error!("tailscaled could not be ended: {error}");
        }
        end
    }

    /// Tells of the trouble, and returns when another life is worth a try.
    async fn recover(&mut self, trouble: Trouble, failures: &mut Failures) {
        let course = trouble.course();
        if course == Course::Restart {
            failures.deaths += 1;
            let pause = growing(RESTARTS, failures.deaths);
            let note = format!("{trouble}; tailscaled is being started again");
            self.phases.send_replace(if failures.deaths < SHORT_LIVES {
                Phase::Starting { note: Some(note) }
            } else {
                Phase::Down(Trouble::Daemon { words: note })
            });
            return self.pause(pause).await;
        }
        self.phases.send_replace(Phase::Down(trouble));
        if course == Course::NewSecret {
            return self.new_secret().await;
        }
        failures.logins += 1;
        self.pause(growing(LOGINS, failures.logins)).await;
    }

    /// Waits for `pause`, by the wall clock where somebody asks: after a freeze it may be over at once.
    async fn pause(&mut self, pause: Duration) {
        let due = SystemTime::now() + pause;
        let timer = sleep(pause);
        pin!(timer);
        loop {
            select! {
                () = &mut timer => return,
                Some(_) = self.notices.recv() => {
                    if SystemTime::now() >= due {
                        return;
                    }
                    self.nothing_new();
                }
            }
        }
    }

    /// Waits until the secret is another one. It is read only when somebody asks for the tailnet.
    async fn new_secret(&mut self) {
        let mut read = SystemTime::now();
        while self.notices.recv().await.is_some() {
            // A clock that was set back counts as time gone by.
            if read.elapsed().unwrap_or(REREAD) >= REREAD {
                read = SystemTime::now();
                match self.keys.renewed().await {
                    Ok(true) => {
                        tracing::info!("the secret has changed: logging in with it");
                        self.phases.send_replace(Phase::Starting { note: None });
                        return;
                    }
                    Ok(false) => {}
                    Err(trouble) => tracing::warn!("{trouble}"),
                }
            }
            self.nothing_new();
        }
    }

    /// Lets those go on who wait for a change of the phase.
    fn nothing_new(&self) {
        self.phases.send_modify(|_| ());
    }

    async fn log_out(&self) {
        match timeout(LOGOUT_LIMIT, self.api.logout()).await {
            Ok(Ok(())) => tracing::debug!("logged out of the tailnet"),
            Ok(Err(error)) => tracing::warn!("the log-out failed: {error}"),
            Err(_) => tracing::warn!("the log-out took longer than {} ms", LOGOUT_LIMIT.as_millis()),
        }
    }
}

/// The pause after the `count`-th failure in a row, the first being 1.
fn growing([first, longest]: [Duration; 2], count: u32) -> Duration {
    let doublings = count.saturating_sub(1).min(16);
    (first * (1 << doublings)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound() {
        assert_eq!(growing(LOGINS, 1), Duration::from_secs(1));
        assert_eq!(growing(LOGINS, 3), Duration::from_secs(4));
        assert_eq!(growing(LOGINS, 1000), Duration::from_secs(60));
        assert_eq!(growing(RESTARTS, 2), Duration::from_millis(100));
    }
}
