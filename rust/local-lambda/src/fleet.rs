//! All environments of the function: each runs one invocation at a time, and more are started when all are busy.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::environment::{self, Availability, Entry, Host, Job, JobError, Order};
use crate::event_log::{self, Event};
use crate::invocation::{Answer, Function, Invocation, InvokeError};

/// How long a request waits for an environment that has answered its last one, but is not idle yet, before another one is
/// started. On the service the way to the caller and back gives it that time.
const FINISHING: Duration = Duration::from_millis(250);

/// The same where no other may be started: what a busy machine may take.
const LONGEST_FINISHING: Duration = Duration::from_secs(5);

/// An environment that dies just when it is chosen is replaced; so often in a row is a fault.
const ATTEMPTS: usize = 3;

/// Orders that wait for an environment: an invocation is given to one only when it is idle, and its end may be next.
const ORDERS: usize = 2;

/// The environments.
#[derive(Debug)]
pub(crate) struct Fleet {
    host: Arc<Host>,
    next_id: AtomicU64,
    tasks: Mutex<JoinSet<()>>,
}

impl Fleet {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self {
            host,
            next_id: AtomicU64::new(1),
            tasks: Mutex::default(),
        }
    }

    /// Waits until every environment is gone. They end when the host's `stop` says so, each within Lambda's own limits.
    pub(crate) async fn join(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        while let Some(outcome) = tasks.join_next().await {
            note_end(outcome);
        }
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the environments as the service does when they are not needed any more, a busy one as soon as it is idle.
    pub(crate) fn spin_down(&self) {
        let mut entries = self.host.registry.lock();
        for entry in entries.values_mut() {
            // Refused by one that ends already.
            let _ = entry.orders.try_send(Order::Spindown);
            if entry.availability == Availability::Idle {
                entry.availability = Availability::Ending;
            }
        }
        let environments = entries.keys().copied().collect();
        event_log::write(&Event::Spindown { environments });
    }

    async fn place(&self, mut job: Job) -> Result<(), InvokeError> {
        let began = Instant::now();
        loop {
            let changed = self.host.registry.changed();
            let Some((waiting, until)) = self.give(job, began)? else {
                return Ok(());
            };
            job = waiting;
            // Whether something changed or time is up, the next look decides.
            let _ = timeout_at(until, changed).await;
        }
    }

    /// Gives a job to an idle environment or a new one; returns it if one is about to be free, and until when that is worth
    /// waiting for. Decides under one lock, so that no two jobs are given the same environment, or the same room for one.
    fn give(&self, job: Job, began: Instant) -> Result<Option<(Job, Instant)>, InvokeError> {
        let mut entries = self.host.registry.lock();
        let Some(job) = give_to_idle(&mut entries, job) else {
            return Ok(None);
        };
        let count = |wanted| entries.values().filter(|entry| entry.availability == wanted).count();
        let (busy, finishing) = (count(Availability::Busy), count(Availability::Finishing));
        // An environment that ends takes no place: the next request gets a fresh one at once.
        let full = busy + finishing >= self.host.function.max_environments;
        let until = began + if full { LONGEST_FINISHING } else { FINISHING };
        if finishing > 0 && Instant::now() < until {
            return Ok(Some((job, until)));
        }
        if full {
            return Err(InvokeError::Throttled);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (orders, receiver) = mpsc::channel(ORDERS);
        let availability = Availability::Busy;
        entries.insert(id, Entry { availability, orders });
        let mut tasks = self.tasks();
        while let Some(outcome) = tasks.try_join_next() {
            note_end(outcome);
        }
        tasks.spawn(environment::run(self.host.clone(), id, receiver, job));
        Ok(None)
    }
}

/// The youngest one first: the others may then be the ones that spin down. Returns a job that nobody took.
fn give_to_idle(entries: &mut BTreeMap<u64, Entry>, mut job: Job) -> Option<Job> {
    for entry in entries
        .values_mut()
        .rev()
        .filter(|entry| entry.availability == Availability::Idle)
    {
        match entry.orders.try_send(Order::Invoke(job)) {
            Ok(()) => {
                entry.availability = Availability::Busy;
                return None;
            }
            Err(TrySendError::Full(order) | TrySendError::Closed(order)) => {
                entry.availability = Availability::Ending;
                let Order::Invoke(back) = order else { return None };
                job = back;
            }
        }
    }
    Some(job)
}

fn note_end(outcome: Result<(), JoinError>) {
    if let Err(error) = outcome {
        tracing::error!(%error, "an environment's task failed");
    }
}

impl Function for Fleet {
    async fn invoke(&self, invocation: Invocation) -> Result<Answer, InvokeError> {
        let stopped = |message: &str| InvokeError::Function {
            error_type: "Sandbox.Stopped".into(),
            message: message.into(),
        };
        let mut invocation = invocation;
        for _ in 0..ATTEMPTS {
            if *self.host.stop.borrow() {
                return Err(stopped("local-lambda is shutting down"));
            }
            let (reply, answer) = oneshot::channel();
            self.place(Job { invocation, reply }).await?;
            match answer.await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(JobError::Failed(error))) => return Err(error),
                Ok(Err(JobError::NotBegun(back))) => invocation = back,
                Err(_) => return Err(stopped("the environment's task ended without an answer")),
            }
        }
        Err(stopped("each environment that was to run it ended first"))
    }
}
