//! Removes local-lambda's control groups when it is gone, however it went: a small process that waits for the other end
//! of its pipe to close. (Everything else of an environment goes with its namespaces.)

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The hidden subcommand that [`main`] serves.
pub const SUBCOMMAND: &str = "sandbox-keeper";

/// How long a killed process may take to leave its group.
const LIMIT: Duration = Duration::from_secs(5);

/// The keeper, seen from local-lambda.
#[derive(Debug)]
pub(crate) struct Keeper(Child);

impl Keeper {
    /// Starts the keeper of these folders.
    pub(crate) fn start(folders: &[PathBuf]) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        // A process group of its own: Ctrl-C in a terminal must not end it before its work.
        command
            .arg(SUBCOMMAND)
            .args(folders)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0);
        command.spawn().map(Self)
    }

    /// Has the folders removed now, and returns when they are.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        drop(self.0.stdin.take());
        let status = self.0.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("the keeper of control groups: {status}")))
        }
    }
}

/// Waits for local-lambda's end, then removes the folders given.
pub fn main(folders: &[String]) -> ExitCode {
    let waited = io::stdin().read_to_end(&mut Vec::new());
    let removed = waited.and_then(|_| {
        let deadline = Instant::now() + LIMIT;
        folders
            .iter()
            .try_for_each(|folder| remove(Path::new(folder), deadline))
    });
    match removed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "control groups stay behind");
            ExitCode::FAILURE
        }
    }
}

/// Two levels deep, as local-lambda makes them. Their last processes may still be dying.
pub(crate) fn remove(folder: &Path, deadline: Instant) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        // Another local-lambda took it for abandoned, and removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_empty(&entry.path(), deadline)?;
        }
    }
    remove_empty(folder, deadline)
}

/// Version 1 tells nobody when a group gets empty, so this asks again until it is, or time is up.
fn remove_empty(folder: &Path, deadline: Instant) -> io::Result<()> {
    loop {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            outcome => return outcome,
        }
    }
}
