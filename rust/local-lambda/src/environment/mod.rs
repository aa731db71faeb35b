//! One execution environment: INIT, then invocations one at a time with freezes between them, then SHUTDOWN.
//!
//! A task of its own owns it. Whatever its processes do (call the API, exit) and whatever the fleet wants reaches that
//! task as a message; every wait in it has a deadline, and ends at once when a process dies.

mod current;
mod ending;
mod init;
mod invoke;
mod lifecycle;
mod processes;
mod registry;
mod requests;
mod rest;
mod shutdown;
mod task;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::Function;
use crate::event_log::{self, Event, State};
use crate::invocation::{Answer, Invocation, InvokeError};
use crate::sandbox::{self, SandboxHost};
use ending::Ending;
pub(crate) use registry::{Availability, Entry, EnvironmentRegistry};
use task::Environment;

/// The runtime's name in events, logs and the supervisor.
const RUNTIME: &str = "runtime";

/// What all environments of a function share.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) function: Arc<Function>,
    pub(crate) sandbox_host: Arc<SandboxHost>,
    pub(crate) registry: EnvironmentRegistry,
    /// Becomes true when local-lambda ends.
    pub(crate) stop: watch::Receiver<bool>,
}

/// What the fleet wants of an environment.
#[derive(Debug)]
pub(crate) enum Order {
    /// Run this.
    Invoke(Job),
    /// End as an idle environment does on the service.
    Spindown,
}

/// An invocation with the way back for its answer.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) invocation: Invocation,
    pub(crate) reply: oneshot::Sender<Result<Answer, JobError>>,
}

/// Why a job has no answer.
#[derive(Debug)]
pub(crate) enum JobError {
    /// The environment ended before it began: another can run it.
    NotBegun(Invocation),
    /// It is over.
    Failed(InvokeError),
}

/// Runs environment `id` from INIT to its end. `first` is what it was started for.
pub(crate) async fn run(host: Arc<Host>, id: u64, orders: mpsc::Receiver<Order>, first: Job) {
    announce(id, State::Starting, None);
    match sandbox::start(&host.sandbox_host, id).await {
        Ok(started) => Environment::new(host.clone(), id, orders, started).run(first).await,
        Err(error) => {
            tracing::error!(environment = id, %error, "the environment could not be started");
            let ending = Ending::from(error);
            first.fail(&ending, host.function.timeout_seconds);
            host.forget(id, &ending);
        }
    }
}

impl Host {
    /// Nothing of an environment is left.
    fn forget(&self, id: u64, ending: &Ending) {
        self.registry.remove(id);
        announce(id, State::Stopped, Some(ending));
    }
}

fn announce(id: u64, state: State, ending: Option<&Ending>) {
    let failure = match ending {
        Some(Ending::Failure(failure)) => Some(failure),
        _ => None,
    };
    event_log::write(&Event::Environment {
        id,
        state,
        reason: ending.map(Ending::reason),
        error_type: failure.map(|failure| failure.error_type.as_str()),
        message: failure.map(|failure| failure.message.as_str()),
    });
}
