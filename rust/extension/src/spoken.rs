//! What the daemon says: lines for our log, the last of them for the message that tells of its end, and a word in them
//! that it does not say over its LocalAPI.

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

/// How many of the last lines are kept.
const KEPT_LINES: usize = 5;
/// What the daemon says when its poll for the tailnet's machines was refused (tailscale.com/control/controlclient).
const POLL_REFUSED: &str = "initial fetch failed ";

/// The lines of one daemon.
pub(crate) struct Spoken {
    last: Arc<Mutex<VecDeque<String>>>,
    disowned: mpsc::Receiver<()>,
    readers: [JoinHandle<()>; 2],
}

impl Spoken {
    /// Reads both until they end, with the process.
    pub(crate) fn listen(stdout: Option<ChildStdout>, stderr: Option<ChildStderr>) -> Self {
        let last = Arc::default();
        let (disowning, disowned) = mpsc::channel(1);
        let readers = [
            read_lines(stdout, Arc::clone(&last), disowning.clone()),
            read_lines(stderr, Arc::clone(&last), disowning),
        ];
        Self {
            last,
            disowned,
            readers,
        }
    }

    /// Where it is heard that the control server does not know the machine. Only the first caller hears of it.
    pub(crate) fn disowned(&mut self) -> mpsc::Receiver<()> {
        std::mem::replace(&mut self.disowned, mpsc::channel(1).1)
    }

    /// The last lines of a daemon that has ended. A call may be given up, and made again.
    pub(crate) async fn last_lines(&mut self) -> Vec<String> {
        // One that has finished may have been awaited by a call that was given up.
        for reader in self.readers.iter_mut().filter(|reader| !reader.is_finished()) {
            // The pipes end with the process; a reader that panicked is a bug that its own message tells of.
            let _ = reader.await;
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().cloned().collect()
    }
}

fn read_lines(
    pipe: Option<impl AsyncRead + Send + Unpin + 'static>,
    last: Arc<Mutex<VecDeque<String>>>,
    disowning: mpsc::Sender<()>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let Some(pipe) = pipe else { return };
        let mut lines = BufReader::new(pipe).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            let line = String::from_utf8_lossy(&line).into_owned();
            tracing::debug!("tailscaled: {line}");
            if disowns(&line) {
                // One who has not heard the last one yet hears enough.
                let _ = disowning.try_send(());
            }
            let mut kept = last.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    })
}

/// Whether this line says that the control server does not know the machine: the daemon itself makes nothing of it, and
/// asks again for ever. Tailscale and Headscale say so with 404; others, such as Tailscale's own test server, in words.
fn disowns(line: &str) -> bool {
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
            assert!(disowns(line), "{line}");
        }
        for line in [
            "Received error: PollNetMap: initial fetch failed 503: maintenance, error 404",
            "Received error: PollNetMap: unexpected EOF",
            "control: map response long-poll timed out!",
        ] {
            assert!(!disowns(line), "{line}");
        }
    }
}
