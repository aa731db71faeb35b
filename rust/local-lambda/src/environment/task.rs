//! The task that owns an environment: its life from one end to the other, and the one place where it waits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::current::Current;
use super::lifecycle::Lifecycle;
use super::{Availability, Ending, Host, Job, JobError, Order};
use crate::lambda_api::calls::{Call, Delivery, ExtensionEvent, Failure, Reply};
use crate::lambda_api::{self, Api};
use crate::sandbox::protocol::Report;
use crate::sandbox::{Sandbox, Started};

/// Calls of processes that wait to be looked at: far more than an environment has parties.
const CALLS: usize = 64;

/// What woke the environment's task.
pub(super) enum Step {
    /// A call or a report was dealt with.
    Changed,
    /// The fleet wants something.
    Order(Order),
    /// local-lambda ends.
    Stop,
    /// The deadline passed.
    TimeUp,
}

enum Wakeup {
    Call(Call),
    Report(Option<Report>),
    ApiEnded(Result<std::io::Error, tokio::task::JoinError>),
    By(Step),
}

pub(super) struct Environment {
    pub(super) host: Arc<Host>,
    pub(super) id: u64,
    pub(super) sandbox: Sandbox,
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) calls: mpsc::Receiver<Call>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) api: tokio::task::JoinHandle<std::io::Error>,
    pub(super) log_stream: String,
    pub(super) lifecycle: Lifecycle,
    /// Those who wait for their next event.
    pub(super) runtime_poll: Option<Reply<Delivery>>,
    pub(super) extension_polls: HashMap<Uuid, Reply<ExtensionEvent>>,
    /// The named processes that run, with their ids as seen from here.
    pub(super) processes: BTreeMap<String, Option<u32>>,
    /// The process that the supervisor was told to start.
    pub(super) spawning: Option<String>,
    /// Only an idle environment takes orders.
    pub(super) resting: bool,
    pub(super) frozen: bool,
    pub(super) all_stopped: bool,
    pub(super) all_gone: bool,
    pub(super) supervisor_ended: bool,
    pub(super) api_ended: bool,
    /// What processes said before they exited: the first counts.
    pub(super) reported: Option<Failure>,
    /// Why the environment must end.
    pub(super) failure: Option<Failure>,
    /// Set while it ends: exits are expected, and this is what extensions are told.
    pub(super) shutdown_event: Option<ExtensionEvent>,
    pub(super) ending: bool,
    pub(super) current: Option<Current>,
}

impl Environment {
    pub(super) fn new(host: Arc<Host>, id: u64, orders: mpsc::Receiver<Order>, started: Started) -> Self {
        let Started { sandbox, reports, api } = started;
        let (sender, calls) = mpsc::channel(CALLS);
        let api = tokio::spawn(lambda_api::serve(
            api,
            Api {
                function: host.function.clone(),
                calls: sender,
            },
        ));
        Self {
            stop: host.stop.clone(),
            log_stream: format!("local/[$LATEST]{}", Uuid::new_v4().simple()),
            host,
            id,
            sandbox,
            reports,
            calls,
            orders,
            api,
            lifecycle: Lifecycle::default(),
            runtime_poll: None,
            extension_polls: HashMap::new(),
            processes: BTreeMap::new(),
            spawning: None,
            resting: false,
            frozen: false,
            all_stopped: false,
            all_gone: false,
            supervisor_ended: false,
            api_ended: false,
            reported: None,
            failure: None,
            shutdown_event: None,
            ending: false,
            current: None,
        }
    }

    pub(super) async fn run(mut self, first: Job) {
        let ending = self.live(first).await;
        tracing::info!(environment = self.id, ?ending, "the environment ends");
        self.host.registry.set(self.id, Availability::Ending);
        self.reject();
        self.shut_down(ending.reason()).await;
        self.api.abort();
        let (host, id) = (self.host, self.id);
        if let Err(error) = self.sandbox.end().await {
            tracing::error!(environment = id, %error, "the environment may have left something behind");
        }
        host.forget(id, &ending);
    }

    async fn live(&mut self, first: Job) -> Ending {
        if let Err(ending) = self.cold_start(first).await {
            return ending;
        }
        loop {
            let outcome = match self.rest().await {
                Ok(job) => self.invoke(job, None, None).await,
                Err(ending) => Err(ending),
            };
            if let Err(ending) = outcome {
                return ending;
            }
        }
    }

    /// What came too late for this environment goes to another.
    fn reject(&mut self) {
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            if let Order::Invoke(job) = order {
                // The fleet waits for it, or its caller has gone.
                let _ = job.reply.send(Err(JobError::NotBegun(job.invocation)));
            }
        }
    }

    /// Lets processes go on with their calls until something is so.
    pub(super) async fn until(&mut self, deadline: Instant, so: impl Fn(&Self) -> bool) -> Result<(), Ending> {
        loop {
            if let Some(failure) = self.failure.take() {
                return Err(Ending::Failure(failure));
            }
            if so(self) {
                return Ok(());
            }
            match self.step(deadline).await {
                Step::Changed | Step::Order(_) => {}
                Step::Stop => return Err(Ending::Stop),
                Step::TimeUp => return Err(Ending::Timeout),
            }
        }
    }

    pub(super) async fn step(&mut self, deadline: Instant) -> Step {
        match self.wake(deadline).await {
            Wakeup::Call(call) => self.answer(call),
            Wakeup::Report(report) => self.note(report),
            Wakeup::ApiEnded(outcome) => {
                self.api_ended = true;
                let reason = outcome.map_or_else(|error| error.to_string(), |error| error.to_string());
                self.fail("Sandbox.Failure", format!("the Runtime API cannot be served: {reason}"));
            }
            Wakeup::By(step) => return step,
        }
        Step::Changed
    }

    /// Exits come before orders: an environment that lost a process takes no more invocations.
    async fn wake(&mut self, deadline: Instant) -> Wakeup {
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop), if !self.ending => Wakeup::By(Step::Stop),
            Some(call) = self.calls.recv() => Wakeup::Call(call),
            report = self.reports.recv(), if !self.supervisor_ended => Wakeup::Report(report),
            outcome = &mut self.api, if !self.api_ended => Wakeup::ApiEnded(outcome),
            order = self.orders.recv(), if self.resting => Wakeup::By(Step::Order(order.unwrap_or(Order::Spindown))),
            () = sleep_until(deadline) => Wakeup::By(Step::TimeUp),
        }
    }
}
