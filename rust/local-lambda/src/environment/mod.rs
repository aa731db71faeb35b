//! One execution environment: INIT, then invocations one at a time with freezes between them, then SHUTDOWN.
//!
//! A task of its own owns it. Whatever its processes do (call the API, exit) and whatever the fleet wants reaches that
//! task as a message; every wait in it has a deadline, and ends at once when a process dies.

mod board;
mod init;
mod invoke;
mod lifecycle;
mod report;
mod rest;
mod shutdown;

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::config::Function;
use crate::event_log::{Change, Event, EventLog, State};
use crate::exit_status::ExitStatus;
use crate::invocation::{Answer, Invocation, InvokeError};
use crate::lambda_api::calls::{Call, Delivery, ErrorPhase, ExtensionEvent, Failure, Reply, ShutdownReason};
use crate::lambda_api::{self, Api};
use crate::sandbox::protocol::{Command, Report};
use crate::sandbox::{self, Ground, Sandbox, SandboxError, Started};
pub(crate) use board::{Availability, Board, Entry};
use invoke::Current;
use lifecycle::{Lifecycle, Next};

/// The runtime's name in events, logs and the supervisor.
const RUNTIME: &str = "runtime";

/// Calls of processes that wait to be looked at: far more than an environment has parties.
const CALLS: usize = 64;

/// What all environments of a function share.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) function: Arc<Function>,
    pub(crate) ground: Arc<Ground>,
    pub(crate) events: EventLog,
    pub(crate) board: Board,
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

/// An environment as the control socket shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Description {
    pub(crate) id: u64,
    pub(crate) state: State,
    /// Process ids in local-lambda's pid namespace, by name.
    pub(crate) pids: BTreeMap<String, Option<u32>>,
    /// The environment's own address.
    pub(crate) address: Option<Ipv4Addr>,
    /// The other end of its interface: its default route.
    pub(crate) gateway: Option<Ipv4Addr>,
    /// That end's name.
    pub(crate) interface: Option<String>,
}

impl Description {
    pub(crate) fn new(id: u64) -> Self {
        let state = State::Starting;
        Self {
            id,
            state,
            pids: BTreeMap::new(),
            address: None,
            gateway: None,
            interface: None,
        }
    }
}

/// How an environment came to its end.
#[derive(Debug, Clone)]
enum Ending {
    /// Nobody needs it any more.
    Spindown,
    /// local-lambda ends.
    Stop,
    /// INIT or an invocation took too long.
    Timeout,
    /// A process ended, or could not start, or the machine failed us.
    Failure(Failure),
}

impl Ending {
    fn reason(&self) -> ShutdownReason {
        match self {
            Self::Spindown | Self::Stop => ShutdownReason::Spindown,
            Self::Timeout => ShutdownReason::Timeout,
            Self::Failure(_) => ShutdownReason::Failure,
        }
    }
}

impl From<SandboxError> for Ending {
    fn from(error: SandboxError) -> Self {
        Self::Failure(Failure {
            error_type: "Sandbox.Failure".into(),
            message: error.to_string(),
        })
    }
}

/// Runs environment `id` from INIT to its end. `first` is what it was started for.
pub(crate) async fn run(host: Arc<Host>, id: u64, orders: mpsc::Receiver<Order>, first: Job) {
    host.announce(id, State::Starting, None);
    match sandbox::start(&host.ground, id).await {
        Ok(started) => Environment::new(host.clone(), id, orders, started).run(first).await,
        Err(error) => {
            tracing::error!(environment = id, %error, "the environment could not be started");
            let ending = Ending::from(error);
            first.fail(&ending, host.function.timeout_seconds);
            host.farewell(id, &ending);
        }
    }
}

impl Host {
    /// Nothing of an environment is left.
    fn farewell(&self, id: u64, ending: &Ending) {
        self.board.remove(id);
        self.announce(id, State::Stopped, Some(ending));
    }

    fn announce(&self, id: u64, state: State, ending: Option<&Ending>) {
        self.board.describe(id, |description| description.state = state);
        let failure = match ending {
            Some(Ending::Failure(failure)) => Some(failure),
            _ => None,
        };
        self.events.write(&Event::Environment {
            id,
            state,
            reason: ending.map(|ending| ending.reason().as_str()),
            error_type: failure.map(|failure| failure.error_type.as_str()),
            message: failure.map(|failure| failure.message.as_str()),
        });
    }
}

/// What woke the environment's task.
enum Step {
    /// A call or a report was dealt with.
    Changed,
    /// The fleet wants something.
    Order(Order),
    /// local-lambda ends.
    Stop,
    /// The deadline passed.
    TimeUp,
}

enum Woken {
    Call(Call),
    Report(Option<Report>),
    By(Step),
}

struct Environment {
    host: Arc<Host>,
    id: u64,
    sandbox: Sandbox,
    reports: mpsc::Receiver<Report>,
    calls: mpsc::Receiver<Call>,
    orders: mpsc::Receiver<Order>,
    stop: watch::Receiver<bool>,
    api: tokio::task::JoinHandle<std::io::Result<()>>,
    log_stream: String,
    lifecycle: Lifecycle,
    /// Those who wait for their next event.
    runtime_poll: Option<Reply<Delivery>>,
    extension_polls: HashMap<Uuid, Reply<ExtensionEvent>>,
    /// The named processes that run, with their ids as seen from here.
    processes: BTreeMap<String, Option<u32>>,
    /// The process that the supervisor was told to start.
    spawning: Option<String>,
    /// Only an idle environment takes orders.
    resting: bool,
    frozen: bool,
    all_stopped: bool,
    all_gone: bool,
    supervisor_ended: bool,
    /// What processes said before they exited: the first counts.
    reported: Option<Failure>,
    /// Why the environment must end.
    failure: Option<Failure>,
    /// Set while it ends: exits are expected, and this is what extensions are told.
    farewell: Option<ExtensionEvent>,
    ending: bool,
    current: Option<Current>,
}

impl Environment {
    fn new(host: Arc<Host>, id: u64, orders: mpsc::Receiver<Order>, started: Started) -> Self {
        let Started { sandbox, reports, api } = started;
        let (sender, calls) = mpsc::channel(CALLS);
        let api = tokio::spawn(lambda_api::serve(
            api,
            Api {
                function: host.function.clone(),
                calls: sender,
            },
        ));
        host.board.describe(id, |description| {
            description.address = Some(sandbox.addresses().inside);
            description.gateway = Some(sandbox.addresses().outside);
            description.interface = Some(sandbox.addresses().interface.clone());
        });
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
            reported: None,
            failure: None,
            farewell: None,
            ending: false,
            current: None,
        }
    }

    async fn run(mut self, first: Job) {
        let ending = self.live(first).await;
        tracing::info!(environment = self.id, ?ending, "the environment ends");
        self.host.board.set(self.id, Availability::Ending);
        self.turn_away();
        self.shut_down(ending.reason()).await;
        self.api.abort();
        let (host, id) = (self.host, self.id);
        if let Err(error) = self.sandbox.end().await {
            tracing::error!(environment = id, %error, "the environment may have left something behind");
        }
        host.farewell(id, &ending);
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
    fn turn_away(&mut self) {
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            if let Order::Invoke(job) = order {
                // The fleet waits for it, or its caller has gone.
                let _ = job.reply.send(Err(JobError::NotBegun(job.invocation)));
            }
        }
    }

    /// Lets processes go on with their calls until something is so.
    async fn until(&mut self, deadline: Instant, so: impl Fn(&Self) -> bool) -> Result<(), Ending> {
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

    async fn step(&mut self, deadline: Instant) -> Step {
        match self.wake(deadline).await {
            Woken::Call(call) => self.answer(call),
            Woken::Report(report) => self.note(report),
            Woken::By(step) => return step,
        }
        Step::Changed
    }

    /// Exits come before orders: an environment that lost a process takes no more invocations.
    async fn wake(&mut self, deadline: Instant) -> Woken {
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop), if !self.ending => Woken::By(Step::Stop),
            Some(call) = self.calls.recv() => Woken::Call(call),
            report = self.reports.recv(), if !self.supervisor_ended => Woken::Report(report),
            order = self.orders.recv(), if self.resting => Woken::By(Step::Order(order.unwrap_or(Order::Spindown))),
            () = sleep_until(deadline) => Woken::By(Step::TimeUp),
        }
    }

    /// A call of one of the processes.
    fn answer(&mut self, call: Call) {
        match call {
            Call::RuntimeNext(reply) => self.runtime_next(reply),
            Call::RuntimeInitError { error, reply } => {
                let outcome = self.lifecycle.runtime_init_error();
                if outcome.is_ok() {
                    self.reported.get_or_insert(error);
                }
                give(reply, outcome);
            }
            Call::Response { id, answer, reply } => self.take_answer(&id, answer, reply),
            Call::StreamBegins { id, stream, reply } => self.begin_stream(&id, stream, reply),
            Call::StreamEnded { id, broken, reply } => self.end_stream(&id, broken, reply),
            Call::Register { name, events, reply } => give(reply, self.lifecycle.register(&name, events)),
            Call::ExtensionNext { identifier, reply } => self.extension_next(identifier, reply),
            Call::ExtensionError {
                identifier,
                phase,
                error_type,
                reply,
            } => {
                let outcome = self.lifecycle.extension_error(identifier, phase);
                let outcome = outcome.map(|name| self.extension_gave_up(&name, phase, &error_type));
                give(reply, outcome);
            }
        }
    }

    fn runtime_next(&mut self, reply: Reply<Delivery>) {
        match self.lifecycle.runtime_next() {
            Ok(Next::Wait) => self.runtime_poll = Some(reply),
            Ok(Next::Again) => match &self.current {
                Some(current) => give(reply, Ok(current.delivery.clone())),
                None => self.runtime_poll = Some(reply),
            },
            Err(refusal) => give(reply, Err(refusal)),
        }
    }

    fn extension_next(&mut self, identifier: Uuid, reply: Reply<ExtensionEvent>) {
        match (self.lifecycle.extension_next(identifier), &self.farewell) {
            (Err(refusal), _) => give(reply, Err(refusal)),
            (Ok(()), Some(farewell)) if self.lifecycle.wants_shutdown(identifier) => give(reply, Ok(farewell.clone())),
            (Ok(()), _) => {
                self.extension_polls.insert(identifier, reply);
            }
        }
    }

    /// The service waits for the process to exit; what it said before then names the failure.
    fn extension_gave_up(&mut self, name: &str, phase: ErrorPhase, error_type: &str) {
        let (kind, call) = match phase {
            ErrorPhase::Init => ("Extension.InitError", "init/error"),
            ErrorPhase::Exit => ("Extension.ExitError", "exit/error"),
        };
        let message = format!("extension {name} reported {error_type} to {call}");
        tracing::warn!(environment = self.id, %message, "an extension gives up");
        self.reported.get_or_insert(Failure {
            error_type: kind.into(),
            message,
        });
    }

    /// Something the supervisor reports; none: it ended.
    fn note(&mut self, report: Option<Report>) {
        match report {
            Some(Report::Spawned { name, pid }) => self.note_start(&name, pid),
            Some(Report::NotSpawned { name, error }) => {
                self.spawning = None;
                let kind = if name == RUNTIME {
                    "Runtime.InvalidEntrypoint"
                } else {
                    "Extension.LaunchError"
                };
                self.fail(kind, format!("{name} could not be started: {error}"));
            }
            Some(Report::Exited { name, status }) => self.note_exit(&name, status),
            Some(Report::AllStopped) => self.all_stopped = true,
            Some(Report::AllGone) => self.all_gone = true,
            Some(Report::Furnished | Report::Unfit(_)) => {}
            None => {
                self.supervisor_ended = true;
                self.all_gone = true;
                self.fail("Sandbox.Failure", "the environment's supervisor ended".into());
            }
        }
    }

    fn note_start(&mut self, name: &str, inside: u32) {
        self.spawning = None;
        if let Err(error) = self.sandbox.spawned() {
            self.fail("Sandbox.Failure", error.to_string());
        }
        let pid = self.sandbox.host_pid(inside);
        self.processes.insert(name.to_owned(), pid);
        self.show_processes();
        self.host.events.write(&Event::Process {
            environment: self.id,
            name,
            change: Change::Started { pid },
        });
    }

    fn note_exit(&mut self, name: &str, status: ExitStatus) {
        let pid = self.processes.remove(name).flatten();
        self.show_processes();
        let expected = self.ending;
        let change = Change::Exited { pid, status, expected };
        self.host.events.write(&Event::Process {
            environment: self.id,
            name,
            change,
        });
        let (kind, message) = if name == RUNTIME {
            self.lifecycle.runtime_exited();
            ("Runtime.ExitError", format!("Runtime exited with error: {status}"))
        } else {
            self.lifecycle.extension_exited(name.trim_start_matches("extension:"));
            ("Extension.Crash", format!("{name} exited with error: {status}"))
        };
        if !expected {
            self.fail(kind, message);
        }
    }

    fn show_processes(&self) {
        self.host
            .board
            .describe(self.id, |description| description.pids.clone_from(&self.processes));
    }

    /// The environment must end. What a process reported before counts more than how it exited.
    fn fail(&mut self, error_type: &str, message: String) {
        if self.ending {
            return;
        }
        tracing::warn!(environment = self.id, error_type, message, "the environment failed");
        let failure = self.reported.take().unwrap_or(Failure {
            error_type: error_type.into(),
            message,
        });
        self.failure.get_or_insert(failure);
    }

    async fn tell(&mut self, command: &Command) -> Result<(), Ending> {
        Ok(self.sandbox.tell(command).await?)
    }
}

/// Whoever asked may be dead by now; then nobody needs the answer.
fn give<T>(reply: Reply<T>, answer: Result<T, lambda_api::Refusal>) {
    let _ = reply.send(answer);
}
