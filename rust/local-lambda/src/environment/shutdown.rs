//! SHUTDOWN: the runtime first, then the extensions, and nothing that outlives its time
//! (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>, "Shutdown phase").

use std::time::Duration;

use tokio::time::Instant;

use super::invoke::milliseconds_since_1970;
use super::requests::give;
use super::task::{Environment, Step};
use super::{Ending, RUNTIME};
use crate::lambda_api::calls::{ExtensionEvent, ShutdownReason, Subscription};
use crate::sandbox::protocol::Command;

/// All that a shutdown may take when there are extensions. With none it takes no time: SIGKILL at once.
const WITH_EXTENSIONS: Duration = Duration::from_secs(2);

/// What the runtime has of that, from SIGTERM to SIGKILL.
const RUNTIME_SHARE: Duration = Duration::from_millis(300);

/// Killed processes are gone in a moment; this long after it something is wrong with the machine.
const AFTER_THE_KILL: Duration = Duration::from_secs(2);

impl Environment {
    /// Ends every process, politely at first.
    pub(super) async fn shut_down(&mut self, reason: ShutdownReason) {
        self.ending = true;
        self.all_gone = false;
        if let Err(ending) = self.shut_down_gracefully(reason).await {
            tracing::warn!(
                environment = self.id,
                ?ending,
                "the environment's shutdown was cut short"
            );
        }
        if !self.supervisor_ended && self.tell(&Command::KillAll).await.is_ok() {
            self.wait(Instant::now() + AFTER_THE_KILL, |state| state.all_gone).await;
        }
    }

    /// Ends every process, to begin with INIT again. As on the service, `/tmp` keeps its content.
    pub(super) async fn reset(&mut self, reason: ShutdownReason) -> Result<(), Ending> {
        self.shut_down(reason).await;
        self.ending = false;
        self.shutdown_event = None;
        self.failure = None;
        self.reported = None;
        self.runtime_poll = None;
        self.extension_polls.clear();
        if self.supervisor_ended {
            return Err(crate::sandbox::ended().into());
        }
        Ok(())
    }

    async fn shut_down_gracefully(&mut self, reason: ShutdownReason) -> Result<(), Ending> {
        self.thaw().await?;
        let begun = Instant::now();
        if !self.lifecycle.has_extensions() {
            return Ok(());
        }
        self.end_runtime(begun + RUNTIME_SHARE).await?;
        self.end_extensions(reason, begun + WITH_EXTENSIONS).await
    }

    async fn end_runtime(&mut self, deadline: Instant) -> Result<(), Ending> {
        if !self.processes.contains_key(RUNTIME) {
            return Ok(());
        }
        self.tell(&Command::Terminate(RUNTIME.into())).await?;
        if !self
            .wait(deadline, |state| !state.processes.contains_key(RUNTIME))
            .await
        {
            tracing::info!(
                environment = self.id,
                "the runtime did not exit in time after SIGTERM: it is killed"
            );
            self.tell(&Command::Kill(RUNTIME.into())).await?;
            self.wait(Instant::now() + AFTER_THE_KILL, |state| {
                !state.processes.contains_key(RUNTIME)
            })
            .await;
        }
        Ok(())
    }

    async fn end_extensions(&mut self, reason: ShutdownReason, deadline: Instant) -> Result<(), Ending> {
        let left = deadline.saturating_duration_since(Instant::now());
        let shutdown_event = ExtensionEvent::Shutdown {
            shutdown_reason: reason,
            deadline_ms: milliseconds_since_1970(left),
        };
        self.shutdown_event = Some(shutdown_event.clone());
        for identifier in self.lifecycle.release(Subscription::Shutdown) {
            if let Some(poll) = self.extension_polls.remove(&identifier) {
                give(poll, Ok(shutdown_event.clone()));
            }
        }
        // Who did not register for SHUTDOWN is not asked.
        for (name, wants_shutdown) in self.lifecycle.running_extensions() {
            if !wants_shutdown {
                self.tell(&Command::Kill(format!("extension:{name}"))).await?;
            }
        }
        if !self.wait(deadline, |state| state.processes.is_empty()).await {
            let late: Vec<_> = self.processes.keys().collect();
            tracing::warn!(
                environment = self.id,
                ?late,
                "still running at the end of SHUTDOWN: killed"
            );
        }
        Ok(())
    }

    /// Lets processes go on with their calls until something is so; false if it is not in time.
    async fn wait(&mut self, deadline: Instant, so: impl Fn(&Self) -> bool) -> bool {
        while !so(self) {
            if let Step::TimeUp = self.step(deadline).await {
                return false;
            }
        }
        true
    }
}
