//! Reads tailscaled's output: forwards it to the log, keeps the last lines for crash reports, and detects that the control
//! server does not know this machine, which the LocalAPI does not report.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{ChildStderr, ChildStdout},
    sync::mpsc,
    task::JoinHandle,
};

/// How many of the last lines are kept: the head of a Go panic.
const KEPT_LINES: usize = 20;
/// What tailscaled prints when its poll for the netmap was refused (tailscale.com/control/controlclient).
const POLL_REFUSED: &str = "initial fetch failed ";

/// The output of one tailscaled process.
pub struct DaemonOutput {
    last: Arc<Mutex<VecDeque<String>>>,
    removals: mpsc::Receiver<()>,
    readers: [JoinHandle<()>; 2],
}

impl DaemonOutput {
    /// Reads both pipes until they end, with the process.
    pub fn read(stdout: Option<ChildStdout>, stderr: Option<ChildStderr>) -> Self {
        let last = Arc::default();
        let (removed, removals) = mpsc::channel(1);
        let readers = [
            read_lines(stdout, Arc::clone(&last), removed.clone()),
            read_lines(stderr, Arc::clone(&last), removed),
        ];
        Self {
            last,
            removals,
            readers,
        }
    }

    /// Receives a message when the control server does not know this machine. Only the first caller gets messages.
    pub fn removals(&mut self) -> mpsc::Receiver<()> {
        std::mem::replace(&mut self.removals, mpsc::channel(1).1)
    }

    /// The last lines of a process that has ended. Cancel-safe.
    pub async fn last_lines(&mut self) -> Vec<String> {
        // A reader that has finished may have been awaited by a call that was cancelled.
        for reader in self.readers.iter_mut().filter(|reader| !reader.is_finished()) {
            // The pipes end with the process; a reader that panicked is a bug that its own message reports.
            let _ = reader.await;
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().cloned().collect()
    }
}

fn read_lines(
    pipe: Option<impl AsyncRead + Send + Unpin + 'static>,
    last: Arc<Mutex<VecDeque<String>>>,
    removed: mpsc::Sender<()>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let Some(pipe) = pipe else { return };
        let mut lines = BufReader::new(pipe).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            let line = String::from_utf8_lossy(&line).into_owned();
            tracing::debug!("tailscaled: {line}");
            if node_not_found(&line) {
                // A full channel holds a message already.
                let _ = removed.try_send(());
            }
            let mut kept = last.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    })
}

/// Whether this line says that the control server does not know the machine: tailscaled itself ignores it, and polls for
/// ever. Tailscale and Headscale answer 404; others, such as Tailscale's own test server, say it in words.
fn node_not_found(line: &str) -> bool {
    line.split_once(POLL_REFUSED)
        .is_some_and(|(_, answer)| answer.starts_with("404") || answer.contains("node not found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_control_does_not_know_is_told_from_a_control_server_in_trouble() {
        for line in [
            "Received error: PollNetMap: initial fetch failed 404: node not found",
            "control: lite map update error after 2ms: initial fetch failed 404: node not found",
            "Received error: PollNetMap: initial fetch failed 400: node not found",
        ] {
            assert!(node_not_found(line), "{line}");
        }
        for line in [
            "Received error: PollNetMap: initial fetch failed 503: maintenance, error 404",
            "Received error: PollNetMap: unexpected EOF",
            "control: map response long-poll timed out!",
        ] {
            assert!(!node_not_found(line), "{line}");
        }
    }
}
