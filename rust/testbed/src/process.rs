//! A child process with a name: its lines are kept, and its end is an event that says who ended, how, and with what
//! last words.

use std::{
    fmt,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{Error, deadline::within, error::failed, log::Log};

/// How long after a process's end its pipes may stay open (a child of its own may hold them) before its log is closed.
const LAST_WORDS_LIMIT: Duration = Duration::from_millis(300);
/// How many lines of standard output may wait to be read.
const OUTPUT_LINES: usize = 1024;

/// A process has ended.
#[derive(Debug, Clone)]
pub struct Exit {
    /// Who.
    pub name: String,
    /// How.
    pub status: ExitStatus,
    /// The end of its log, a line each, indented.
    pub log: String,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, describe(self.status))?;
        if self.log.is_empty() {
            write!(f, "; it logged nothing")
        } else {
            write!(f, "; the end of its log:\n{}", self.log)
        }
    }
}

/// "died with exit code 1", "was killed by signal 9 (SIGKILL)".
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("died with exit code {code}"),
        (None, signal) => {
            let signal = signal.unwrap_or(0);
            let name = Signal::try_from(signal).map_or("unknown", Signal::as_str);
            format!("was killed by signal {signal} ({name})")
        }
    }
}

/// A command that sees nothing of this process's environment but the PATH, and keeps its files in `run_dir`.
pub fn command(program: &Path, run_dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", run_dir)
        .env("TMPDIR", run_dir)
        .stdin(Stdio::null());
    command
}

/// A running, or ended, process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    log: Log,
    exit: watch::Receiver<Option<Exit>>,
    orders: mpsc::Sender<Signal>,
    owner: JoinHandle<()>,
}

impl Process {
    /// Starts `command`; both outputs go to the log.
    pub fn spawn(name: &str, command: &mut Command) -> Result<Self, Error> {
        Self::start(name, command, None)
    }

    /// Starts `command`; the lines of its standard output go to the receiver, which must be read or dropped.
    pub fn spawn_reading(name: &str, command: &mut Command) -> Result<(Self, mpsc::Receiver<String>), Error> {
        let (sender, receiver) = mpsc::channel(OUTPUT_LINES);
        Ok((Self::start(name, command, Some(sender))?, receiver))
    }

    fn start(name: &str, command: &mut Command, output: Option<mpsc::Sender<String>>) -> Result<Self, Error> {
        let spawned = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let program = command.as_std().get_program().display();
        let mut child = spawned.map_err(failed(format!("{name} could not be started: {program}")))?;
        let log = Log::default();
        let readers = [
            tokio::spawn(read_lines(child.stdout.take(), log.clone(), output)),
            tokio::spawn(read_lines(child.stderr.take(), log.clone(), None)),
        ];
        let (exits, exit) = watch::channel(None);
        let (orders, received) = mpsc::channel(4);
        let pid = child.id().unwrap_or_default();
        let owned = own(child, received, (name.to_owned(), log.clone()), readers, exits);
        Ok(Self {
            name: name.to_owned(),
            pid,
            log,
            exit,
            orders,
            owner: tokio::spawn(owned),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id, as seen from inside.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it logged.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Waits for its end.
    pub fn exited(&self) -> impl Future<Output = Exit> + Send + 'static {
        let mut exit = self.exit.clone();
        async move {
            match exit.wait_for(Option::is_some).await.map(|exit| exit.clone()) {
                Ok(Some(exit)) => exit,
                // Dropped while somebody waits: the process is being killed, and nobody is told.
                _ => std::future::pending().await,
            }
        }
    }

    /// Sends it a signal, unless it has ended.
    pub async fn signal(&self, signal: Signal) {
        // A closed channel means that it has ended.
        let _ = self.orders.send(signal).await;
    }

    /// Ends it: SIGTERM, and SIGKILL after `grace`.
    pub async fn stop(self, grace: Duration) -> Exit {
        self.signal(Signal::SIGTERM).await;
        match within(grace, "its end", self.exited()).await {
            Ok(exit) => exit,
            Err(_) => {
                self.signal(Signal::SIGKILL).await;
                self.exited().await
            }
        }
    }

    /// Waits until `ready` is, for `limit` at most, or until the process ends.
    pub async fn ready<T>(&self, limit: Duration, what: &str, ready: impl Future<Output = T>) -> Result<T, Error> {
        let (name, log) = (&self.name, &self.log);
        tokio::select! {
            result = within(limit, what, ready) => result.map_err(|late| {
                Error::Other(format!("{name} is not ready: {late}; the end of its log:\n{}", log.tail()))
            }),
            exit = self.exited() => Err(Error::Other(exit.to_string())),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The owner holds the child, which is killed with it.
        self.owner.abort();
    }
}

/// Waits for the process's end. Signals are sent from here alone, so that none can reach a process id used anew.
async fn own(
    mut child: Child,
    mut orders: mpsc::Receiver<Signal>,
    (name, log): (String, Log),
    readers: [JoinHandle<()>; 2],
    exits: watch::Sender<Option<Exit>>,
) {
    // Waiting for a child closes its standard input, unless somebody else holds it.
    let _stdin = child.stdin.take();
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            Some(signal) = orders.recv() => {
                if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                    // Only a process that has just ended cannot be signalled, and then the other branch is next.
                    let _ = nix::sys::signal::kill(Pid::from_raw(pid), signal);
                }
            }
        }
    };
    let Ok(status) = status else { return };
    let readers = async {
        for reader in readers {
            // A reader that panicked is a bug that its own message tells of.
            let _ = reader.await;
        }
    };
    // Too late for last words is no reason to hold back the news.
    let _ = within(LAST_WORDS_LIMIT, "the last words", readers).await;
    let log = log.tail();
    exits.send_replace(Some(Exit { name, status, log }));
}

/// Lines that are not UTF-8 are kept as well as they can be: a reader that gave up would stall the process.
async fn read_lines(pipe: Option<impl AsyncRead + Unpin>, log: Log, output: Option<mpsc::Sender<String>>) {
    let Some(pipe) = pipe else { return };
    let mut lines = BufReader::new(pipe).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        match &output {
            // A receiver that was dropped has read what it wanted.
            Some(output) => drop(output.send(line).await),
            None => log.push(line),
        }
    }
}
