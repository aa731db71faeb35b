//! Whether every process of a pid namespace has come to a stop: a signal is only the request for it.

use std::fs;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// A process that does not stop this long is stuck in the kernel.
const LIMIT: Duration = Duration::from_secs(1);

/// The kernel tells only a process's own parent that it stopped, and orphans have none who listens: so this looks.
const PAUSE: Duration = Duration::from_micros(500);

/// Returns when all processes but pid 1 have stopped, or time is up.
pub(crate) async fn wait_until_all_stopped() -> io::Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !all_stopped()? {
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "a process does not stop"));
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

fn all_stopped() -> io::Result<bool> {
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let name = entry.file_name();
        let is_process = name
            .to_str()
            .is_some_and(|name| name != "1" && name.bytes().all(|byte| byte.is_ascii_digit()));
        // One that is gone meanwhile has come to a stop, too.
        let Ok(tasks) = fs::read_dir(entry.path().join("task")) else {
            continue;
        };
        if is_process
            && tasks
                .flatten()
                .any(|task| fs::read_to_string(task.path().join("stat")).is_ok_and(|stat| runs(&stat)))
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The state follows the name, which is in parentheses and may hold any character (proc_pid_stat(5)).
fn runs(stat: &str) -> bool {
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('T' | 't' | 'Z' | 'X' | 'x') | None)
}
