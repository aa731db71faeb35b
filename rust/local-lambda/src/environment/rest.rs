//! Between invocations: every process is stopped until there is something to do again.
//!
//! By signals, which need no rights to control groups. Unlike on Lambda, whose virtual machine is paused as a whole,
//! monotonic clocks go on meanwhile, and processes can notice: some system calls return early.

use std::time::Duration;

use tokio::time::Instant;

use super::task::{Environment, Step};
use super::{Availability, Ending, Job, Order, announce};
use crate::event_log::State;
use crate::sandbox::protocol::Command;

/// Stopping a handful of processes takes a moment.
const FREEZE_LIMIT: Duration = Duration::from_secs(2);

/// An idle environment waits for as long as local-lambda runs: it wakes for orders and for exits, and now and then for
/// nothing.
const NAP: Duration = Duration::from_secs(3600);

impl Environment {
    /// Rests until there is an invocation, or a reason to end.
    pub(super) async fn rest(&mut self) -> Result<Job, Ending> {
        self.host.registry.set(self.id, Availability::Idle);
        if self.orders.is_empty() {
            self.freeze().await?;
        }
        self.resting = true;
        let outcome = self.next_order().await;
        self.resting = false;
        outcome
    }

    async fn next_order(&mut self) -> Result<Job, Ending> {
        loop {
            if let Some(failure) = self.failure.take() {
                return Err(Ending::Failure(failure));
            }
            match self.step(Instant::now() + NAP).await {
                Step::Order(Order::Invoke(job)) => return Ok(job),
                Step::Order(Order::Spindown) => return Err(Ending::Spindown),
                Step::Stop => return Err(Ending::Stop),
                Step::Changed | Step::TimeUp => {}
            }
        }
    }

    async fn freeze(&mut self) -> Result<(), Ending> {
        if !self.host.function.freeze {
            return Ok(());
        }
        self.all_stopped = false;
        self.tell(&Command::StopAll).await?;
        self.until(Instant::now() + FREEZE_LIMIT, |state| state.all_stopped)
            .await?;
        self.frozen = true;
        announce(self.id, State::Frozen, None);
        Ok(())
    }

    /// Lets every process go on, if they are stopped.
    pub(super) async fn thaw(&mut self) -> Result<(), Ending> {
        if std::mem::take(&mut self.frozen) {
            self.tell(&Command::ContinueAll).await?;
            announce(self.id, State::Thawed, None);
        }
        Ok(())
    }
}
