//! What local-lambda and the supervisor (pid 1 of an environment) tell each other: JSON lines over two pipes.

use std::fmt;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::process_variables::Variables;

/// The first line that the supervisor reads: how the environment is set up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SandboxSpec {
    /// Which environment it is, for the prefix of its output lines.
    pub(crate) id: u64,
    /// An empty folder that becomes the root.
    pub(crate) root: PathBuf,
    /// Where the programs and libraries are taken from.
    pub(crate) machine: PathBuf,
    /// The unpacked layers: `/opt`.
    pub(crate) layers: PathBuf,
    /// The unpacked function: `/var/task`.
    pub(crate) task: PathBuf,
    /// The host name inside.
    pub(crate) hostname: String,
}

/// A process to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    /// `runtime` or `extension:<name>`.
    pub(crate) name: String,
    /// The executable, seen from inside.
    pub(crate) path: String,
    /// Its whole environment.
    pub(crate) variables: Variables,
}

/// What the supervisor is told to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Start a process.
    Spawn(Program),
    /// Ask a process to end (SIGTERM).
    Terminate(String),
    /// End a process and its process group (SIGKILL).
    Kill(String),
    /// Stop every process (SIGSTOP).
    StopAll,
    /// Let every process go on (SIGCONT).
    ContinueAll,
    /// End every process, and say when none is left.
    KillAll,
}

/// What the supervisor reports.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The environment is set up.
    SetUp,
    /// It could not be set up.
    SetUpFailed(String),
    /// A process runs; its id is the one inside.
    Spawned { name: String, pid: u32 },
    /// A process could not be started.
    NotSpawned { name: String, error: String },
    /// A process ended.
    Exited { name: String, status: ExitStatus },
    /// All have been sent SIGSTOP.
    AllStopped,
    /// No process is left.
    AllGone,
}

/// How a process ended: an exit code or a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExitStatus {
    /// It exited by itself.
    #[serde(rename = "exitCode")]
    Code(i32),
    /// A signal ended it.
    #[serde(rename = "signal")]
    Signal(i32),
}

impl fmt::Display for ExitStatus {
    /// In the words of the service's logs (`exit status 1`, `signal: killed`), which are Go's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(9) => f.write_str("signal: killed"),
            Self::Signal(number) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "signal: {signal}"),
                Err(_) => write!(f, "signal: {number}"),
            },
        }
    }
}
