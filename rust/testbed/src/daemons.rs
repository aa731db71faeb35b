//! Watches the tailscaled of each environment: local-lambda knows the runtime and the extensions, but not the children
//! of theirs. Its end, though the environment goes on, becomes an event like theirs.

use std::{fs, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::{sync::oneshot, task::JoinSet};

use crate::{event::Event, log::History};

/// The process's name.
const DAEMON: &str = "tailscaled";
/// How long after the daemon's end the environment's may follow: then that is the news.
const SAME_END_LIMIT: Duration = Duration::from_millis(500);

/// A daemon, and where it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Daemon {
    environment: u64,
    pid: u32,
}

/// Follows `events` for ever, and adds the daemons' unexpected ends to them.
pub(crate) async fn watch(events: History<Event>) {
    let mut watched = JoinSet::new();
    let mut alive: Vec<Daemon> = Vec::new();
    let mut seen = 0;
    loop {
        tokio::select! {
            (number, environment) = next_ready(&events, seen) => {
                seen = number;
                if !alive.iter().any(|daemon| daemon.environment == environment)
                    && let Some(daemon) = find(&events, environment)
                {
                    alive.push(daemon);
                    watched.spawn(wait(daemon, events.clone()));
                }
            }
            Some(Ok(ended)) = watched.join_next() => alive.retain(|daemon| *daemon != ended),
        }
    }
}

/// The next time that an environment has its daemon up, and the number of the event after.
async fn next_ready(events: &History<Event>, since: usize) -> (usize, u64) {
    let ready = |event: &Event| match event {
        Event::Environment { id, state, .. } if matches!(state.as_str(), "initialized" | "frozen") => Some(*id),
        _ => None,
    };
    events.find_numbered(since, ready).await
}

/// The daemon among the children of the environment's extensions.
fn find(events: &History<Event>, environment: u64) -> Option<Daemon> {
    let extension = events.look(0, |event| match event {
        Event::Process {
            environment: of,
            name,
            state,
            pid,
            ..
        } if *of == environment && state == "started" && name.starts_with("extension:") => *pid,
        _ => None,
    })?;
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid =
        pids.find(|pid| parent_and_name(*pid).is_some_and(|(parent, name)| parent == extension && name == DAEMON))?;
    Some(Daemon { environment, pid })
}

/// From /proc/PID/stat (proc(5)): "PID (name) state parent ...", where the name may hold anything.
fn parent_and_name(pid: u32) -> Option<(u32, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    Some((rest.split(' ').nth(1)?.parse().ok()?, name.to_owned()))
}

/// Waits for the daemon's end, and tells of it if the environment goes on.
async fn wait(daemon: Daemon, events: History<Event>) -> Daemon {
    if !ended(daemon.pid).await {
        return daemon;
    }
    let Daemon { environment, pid } = daemon;
    // From the beginning: an environment's processes end only once.
    let environments = events.find(0, |event| match event {
        Event::Environment { id, state, .. } if *id == environment && state == "stopped" => Some(()),
        Event::Process {
            environment: of, state, ..
        } if *of == environment && state == "exited" => Some(()),
        _ => None,
    });
    if tokio::time::timeout(SAME_END_LIMIT, environments).await.is_err() {
        events.push(Event::Process {
            environment,
            name: DAEMON.to_owned(),
            state: "exited".to_owned(),
            pid: Some(pid),
            exit_code: None,
            signal: None,
            expected: Some(false),
        });
    }
    daemon
}

/// Waits for the end of a process that is not a child; false if that cannot be awaited, or it is gone already.
async fn ended(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
        return false;
    };
    let (sender, receiver) = oneshot::channel();
    // A thread of its own, which ends with the process: tokio offers no safe way to await a file descriptor.
    std::thread::spawn(move || {
        // A pidfd becomes readable when its process ends. Nobody may be waiting for the news any more.
        let _ = sender.send(retry_on_intr(|| poll(&mut [PollFd::new(&handle, PollFlags::IN)], None)).is_ok());
    });
    receiver.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_told_by_its_parent_and_name() {
        let (_, name) = parent_and_name(std::process::id()).unwrap();
        assert!(name.starts_with("testbed"), "{name}");
        assert_eq!(parent_and_name(u32::MAX), None);
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_noticed_and_told_if_the_environment_goes_on() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let events = History::default();
        let daemon = Daemon {
            environment: 3,
            pid: child.id(),
        };
        let waiting = tokio::spawn(wait(daemon, events.clone()));
        // One turn for the watch: it must be there before the end.
        tokio::task::yield_now().await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(waiting.await.unwrap(), daemon);
        let told = events.look(0, |event| match event {
            Event::Process {
                environment,
                name,
                expected,
                ..
            } => Some((*environment, name.clone(), *expected)),
            _ => None,
        });
        assert_eq!(told, Some((3, "tailscaled".into(), Some(false))));
    }
}
