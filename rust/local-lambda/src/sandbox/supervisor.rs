//! Pid 1 of an environment: furnishes it, starts and ends its processes, reaps them all, reports each exit at once.
//! It dies with local-lambda, and with it everything in its pid namespace.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{ExitCode, Stdio};

use nix::errno::Errno;
use nix::sys::prctl::{set_no_new_privs, set_pdeathsig};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};

use super::protocol::{Command, ExitStatus, Program, Report, SandboxSpec};
use super::{identity, mounts, standstill};

/// The hidden subcommand that [`main`] serves.
pub const SUBCOMMAND: &str = "sandbox-supervisor";

/// Open files that a process may have on Lambda.
const OPEN_FILES: u64 = 1024;

const EVERYONE: Pid = Pid::from_raw(-1);

/// Runs the supervisor until local-lambda closes its pipe.
pub fn main() -> ExitCode {
    let outcome = set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(supervise())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the supervisor of an environment failed");
            ExitCode::FAILURE
        }
    }
}

async fn supervise() -> io::Result<()> {
    let commands = pipe::Receiver::from_owned_fd(duplicate(io::stdin())?)?;
    let mut commands = BufReader::new(commands).lines();
    let mut reports = Reports(pipe::Sender::from_owned_fd(duplicate(io::stdout())?)?);
    let Some(line) = commands.next_line().await? else {
        return Ok(());
    };
    let spec: SandboxSpec = serde_json::from_str(&line)?;
    match prepare(&spec) {
        Ok(()) => reports.send(&Report::SetUp).await?,
        Err(error) => return reports.send(&Report::SetUpFailed(error)).await,
    }
    let processes = Processes {
        environment: spec.id,
        ..Processes::default()
    };
    serve(processes, commands, reports).await
}

/// The function's processes must not inherit the pipes: they get their own, or none.
fn duplicate(stream: impl AsFd) -> io::Result<OwnedFd> {
    stream.as_fd().try_clone_to_owned()
}

fn prepare(spec: &SandboxSpec) -> Result<(), String> {
    mounts::set_up(spec).map_err(|error| error.to_string())?;
    sethostname(&spec.hostname).map_err(|error| format!("cannot set the host name: {error}"))?;
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES)
        .map_err(|error| format!("cannot limit the open files to {OPEN_FILES}: {error}"))?;
    // Inherited by all that is started: no set-uid program gives anything back.
    set_no_new_privs().map_err(|error| format!("cannot set no_new_privs: {error}"))
}

async fn serve(
    mut processes: Processes,
    mut commands: Lines<BufReader<pipe::Receiver>>,
    mut reports: Reports,
) -> io::Result<()> {
    let mut child_ended = signal(SignalKind::child())?;
    loop {
        tokio::select! {
            line = commands.next_line() => {
                // The end of the pipe is the end of local-lambda: returning ends pid 1, and all processes with it.
                let Some(line) = line? else { return Ok(()) };
                if let Some(report) = processes.obey(serde_json::from_str(&line)?).await? {
                    reports.send(&report).await?;
                }
            }
            _ = child_ended.recv() => {
                for report in processes.reap()? {
                    reports.send(&report).await?;
                }
            }
        }
    }
}

struct Reports(pipe::Sender);

impl Reports {
    async fn send(&mut self, report: &Report) -> io::Result<()> {
        let line = serde_json::to_string(report)? + "\n";
        self.0.write_all(line.as_bytes()).await
    }
}

#[derive(Default)]
struct Processes {
    environment: u64,
    names: HashMap<Pid, String>,
    clearing: bool,
}

impl Processes {
    async fn obey(&mut self, command: Command) -> io::Result<Option<Report>> {
        match command {
            Command::Spawn(program) => return Ok(Some(self.spawn(&program))),
            Command::Terminate(name) => self.signal(&name, |pid| kill(pid, Signal::SIGTERM))?,
            Command::Kill(name) => self.signal(&name, |pid| killpg(pid, Signal::SIGKILL))?,
            Command::StopAll => {
                signal_everyone(Signal::SIGSTOP)?;
                standstill::wait_until_all_stopped().await?;
                return Ok(Some(Report::AllStopped));
            }
            Command::ContinueAll => signal_everyone(Signal::SIGCONT)?,
            Command::KillAll => {
                self.clearing = true;
                signal_everyone(Signal::SIGKILL)?;
                return Ok(self.none_left()?.then_some(Report::AllGone));
            }
        }
        Ok(None)
    }

    fn spawn(&mut self, program: &Program) -> Report {
        let name = program.name.clone();
        match self.start(program) {
            Ok(pid) => Report::Spawned { name, pid },
            Err(error) => Report::NotSpawned {
                name,
                error: error.to_string(),
            },
        }
    }

    fn start(&mut self, program: &Program) -> io::Result<u32> {
        let mut child = identity::command(&program.path)?
            .env_clear()
            .envs(&program.variables)
            .current_dir("/var/task")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let prefix = format!("[{} {}] ", self.environment, program.name);
        let outputs = [
            child.stdout.take().map(OwnedFd::from),
            child.stderr.take().map(OwnedFd::from),
        ];
        for pipe in outputs.into_iter().flatten() {
            tokio::spawn(pass_on(pipe::Receiver::from_owned_fd(pipe)?, prefix.clone()));
        }
        self.names
            .insert(Pid::from_raw(child.id().cast_signed()), program.name.clone());
        Ok(child.id())
    }

    /// A process that is gone already needs no signal.
    fn signal(&self, name: &str, send: impl Fn(Pid) -> nix::Result<()>) -> io::Result<()> {
        for (pid, _) in self.names.iter().filter(|(_, known)| *known == name) {
            ignore_gone(send(*pid))?;
        }
        Ok(())
    }

    /// Orphans come to pid 1 too: they are reaped without a word.
    fn reap(&mut self) -> io::Result<Vec<Report>> {
        let mut reports = Vec::new();
        loop {
            let (pid, status) = match waitpid(EVERYONE, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, ExitStatus::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, ExitStatus::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) => continue,
                Err(Errno::ECHILD) => {
                    if std::mem::take(&mut self.clearing) {
                        reports.push(Report::AllGone);
                    }
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            if let Some(name) = self.names.remove(&pid) {
                reports.push(Report::Exited { name, status });
            }
        }
        Ok(reports)
    }

    /// Asked before any is reaped: what has ended but was not reported yet still counts.
    fn none_left(&mut self) -> io::Result<bool> {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::WEXITED;
        match nix::sys::wait::waitid(nix::sys::wait::Id::All, flags) {
            Err(Errno::ECHILD) => {
                self.clearing = false;
                Ok(true)
            }
            Err(error) => Err(error.into()),
            Ok(_) => Ok(false),
        }
    }
}

/// All in the pid namespace but pid 1 itself (kill(2)).
fn signal_everyone(signal: Signal) -> io::Result<()> {
    ignore_gone(kill(EVERYONE, signal))
}

fn ignore_gone(outcome: nix::Result<()>) -> io::Result<()> {
    match outcome {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Passes a process's output on to standard error until the pipe closes: each line with the name of who wrote it.
async fn pass_on(pipe: impl AsyncRead + Unpin, prefix: String) {
    let mut lines = BufReader::new(pipe).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        // In one piece, as others write there too. Nobody left to read it is no reason to end the function.
        let whole = [prefix.as_bytes(), &line, b"\n"].concat();
        let _ = io::stderr().lock().write_all(&whole);
    }
}
