//! Starts an environment: a thread that goes into new namespaces, and the supervisor that it leaves there.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::network;
use super::network::Addresses;
use super::protocol::{Report, SandboxSpec};
use super::{CpuShare, Sandbox, SandboxHost, ended, supervisor};
use crate::error::{Error, failed};

/// Starting and ending take some 20 ms; a machine that needs this long is not usable.
const LIMIT: Duration = Duration::from_secs(10);

/// Reports wait here until they are read: more than an environment has processes.
const REPORTS: usize = 64;

/// A new environment: nothing runs in it yet.
#[derive(Debug)]
pub(crate) struct Started {
    /// To govern it.
    pub(crate) sandbox: Sandbox,
    /// What its supervisor reports; closes when the supervisor ends.
    pub(crate) reports: mpsc::Receiver<Report>,
    /// Where its processes call the Runtime API and the Extensions API.
    pub(crate) api: TcpListener,
}

/// A /30 network, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    sandbox_host: Arc<SandboxHost>,
    number: u8,
}

impl Slot {
    fn take(sandbox_host: &Arc<SandboxHost>) -> Result<Self, Error> {
        let number = sandbox_host.slots.lock().unwrap_or_else(PoisonError::into_inner).take();
        let number = number.ok_or_else(|| Error("all 64 networks are in use".into()))?;
        Ok(Self {
            sandbox_host: sandbox_host.clone(),
            number,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.sandbox_host
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .give_back(self.number);
    }
}

/// What the thread in the new namespaces hands over.
struct Inside {
    api: TcpListener,
    pid: u32,
    commands: OwnedFd,
    reports: OwnedFd,
}

/// Starts environment number `id`.
///
/// # Errors
/// Nothing of the environment is left then.
pub(crate) async fn start(sandbox_host: &Arc<SandboxHost>, id: u64) -> Result<Started, Error> {
    let slot = Slot::take(sandbox_host)?;
    let addresses = sandbox_host.block.addresses(slot.number, id);
    let cpu_share = sandbox_host.cpu_of_memory.map(CpuShare::make).transpose()?;
    let (tell_gone, gone) = oneshot::channel();
    let (tell_inside, inside) = oneshot::channel();
    let inner = addresses.clone();
    std::thread::Builder::new()
        .name(format!("environment-{id}"))
        .spawn(move || host(&inner, tell_inside, tell_gone))?;
    let inside = within("entering the environment's namespaces", inside)
        .await?
        .map_err(|_| ended())??;
    let commands = pipe::Sender::from_owned_fd(inside.commands)?;
    let reports = BufReader::new(pipe::Receiver::from_owned_fd(inside.reports)?).lines();
    let sandbox = Sandbox {
        pid: inside.pid,
        addresses,
        commands: Some(commands),
        gone,
        cpu_share,
        _slot: slot,
    };
    set_up(sandbox, reports, inside.api, sandbox_host, id).await
}

async fn set_up(
    mut sandbox: Sandbox,
    mut reports: Lines<BufReader<pipe::Receiver>>,
    api: TcpListener,
    sandbox_host: &SandboxHost,
    id: u64,
) -> Result<Started, Error> {
    let scratch = &sandbox_host.scratch;
    let spec = SandboxSpec {
        id,
        root: scratch.root.clone(),
        machine: scratch.machine.clone(),
        layers: scratch.layers.clone(),
        task: scratch.task.clone(),
        hostname: sandbox.addresses.inside.to_string(),
    };
    let answer = async {
        sandbox.tell(&spec).await?;
        let report = within("furnishing the environment", next_report(&mut reports)).await??;
        // Only now, so that furnishing does not take of the function's share.
        if let Some(cpu_share) = &sandbox.cpu_share {
            cpu_share.enter(sandbox.pid)?;
        }
        Ok(report)
    };
    let failure = match answer.await {
        Ok(Some(Report::SetUp)) => {
            let (sender, receiver) = mpsc::channel(REPORTS);
            tokio::spawn(read_reports(reports, sender));
            return Ok(Started {
                sandbox,
                reports: receiver,
                api,
            });
        }
        Ok(Some(Report::SetUpFailed(reason))) => Error(reason),
        Ok(_) => ended(),
        Err(error) => error,
    };
    sandbox.end().await?;
    Err(failure)
}

/// A thread of its own for each environment: namespaces belong to threads, and the supervisor dies with the thread that
/// started it.
fn host(addresses: &Addresses, tell_inside: oneshot::Sender<Result<Inside, Error>>, tell_gone: oneshot::Sender<()>) {
    let (mut supervisor, inside) = match enter(addresses) {
        Ok(entered) => entered,
        Err(error) => {
            // Nobody waits for it any more if the start took too long.
            let _ = tell_inside.send(Err(error));
            return;
        }
    };
    if let Err(unheard) = tell_inside.send(Ok(inside)) {
        // Its pipes close with it, so the supervisor ends.
        drop(unheard);
    }
    if let Err(error) = supervisor.wait() {
        tracing::error!(%error, "the environment's supervisor cannot be waited for");
    }
    let _ = tell_gone.send(());
}

fn enter(addresses: &Addresses) -> Result<(Child, Inside), Error> {
    let api = network::enter_new(addresses)?;
    let namespaces =
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    unshare(namespaces).map_err(failed("no namespaces"))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(supervisor::SUBCOMMAND)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    // Ctrl-C in a terminal is for local-lambda, which then shuts the environment down as the service does.
    let mut child = command.process_group(0).spawn()?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(ended());
    };
    let inside = Inside {
        api,
        pid: child.id(),
        commands: stdin.into(),
        reports: stdout.into(),
    };
    Ok((child, inside))
}

async fn read_reports(mut lines: Lines<BufReader<pipe::Receiver>>, reports: mpsc::Sender<Report>) {
    loop {
        match next_report(&mut lines).await {
            Ok(Some(report)) => {
                if reports.send(report).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => return tracing::error!(%error, "the supervisor's reports cannot be read"),
        }
    }
}

async fn next_report(lines: &mut Lines<BufReader<pipe::Receiver>>) -> Result<Option<Report>, Error> {
    let Some(line) = lines.next_line().await? else {
        return Ok(None);
    };
    Ok(Some(serde_json::from_str(&line).map_err(io::Error::from)?))
}

async fn within<T>(what: &'static str, done: impl Future<Output = T>) -> Result<T, Error> {
    timeout(LIMIT, done)
        .await
        .map_err(|_| Error(format!("{what} took longer than {LIMIT:?}")))
}

impl Sandbox {
    /// Ends every process in it, and returns when nothing is left.
    pub(crate) async fn end(mut self) -> Result<(), Error> {
        drop(self.commands.take());
        // The thread that says so cannot fail to: a dropped sender means that it is gone as well.
        let _ = within("ending the environment", &mut self.gone).await?;
        // From here, not from that thread: nothing can be started in a pid namespace that has ended.
        let (addresses, cpu_share) = (self.addresses.clone(), self.cpu_share.take());
        let removed = tokio::task::spawn_blocking(move || {
            drop(cpu_share);
            addresses.remove()
        });
        removed.await.map_err(io::Error::from)?
    }
}
