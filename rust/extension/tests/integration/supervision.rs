//! A tailscaled that fails: a shell script in its place, as a real process.

use std::{os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};

use extension::{
    clock::SystemClock,
    error::JoinError,
    supervisor::{process::Supervisor, state::TailnetState},
    tailscaled::process::Paths,
};
use tokio::time::{Instant, timeout};

use crate::{
    fake_keys::FakeKeys,
    stage::{config, ms, secs, unique_path},
};

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A folder with a tailscaled in it that is a shell script.
struct Folder(PathBuf);

impl Folder {
    fn with(script: &str) -> Self {
        let folder = unique_path("supervision");
        std::fs::create_dir_all(&folder).unwrap();
        let program = folder.join("tailscaled");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn paths(&self) -> Paths {
        Paths {
            program: self.0.join("tailscaled"),
            socket: self.0.join("socket"),
            state_directory: self.0.clone(),
            ..Paths::with_socks(([127, 0, 0, 1], 0).into(), Vec::new(), None)
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn start(paths: Paths) -> Supervisor {
    Supervisor::start(&config(), Arc::new(SystemClock), paths, FakeKeys::Good)
}

async fn failed(supervisor: &Supervisor) -> String {
    let state = supervisor.tailnet().wait_until_settled(Instant::now() + LIMIT).await;
    let TailnetState::Unavailable(JoinError::TailscaledFailed { reason }) = state else {
        panic!("{state:?}")
    };
    reason
}

#[tokio::test]
async fn a_tailscaled_that_crashes_again_and_again_is_reported_without_its_last_lines() {
    let folder = Folder::with("echo out of luck; exit 3");
    let supervisor = start(folder.paths());
    let reason = failed(&supervisor).await;
    assert!(reason.contains("exit code 3"), "{reason}");
    // They may name peers: they are for the log.
    assert!(!reason.contains("out of luck"), "{reason}");
    let deadline = Instant::now() + LIMIT;
    let unavailable = supervisor.tailnet().wait_until_running(deadline).await.unwrap_err();
    assert_eq!(unavailable.code, "TailscaledFailed");
    timeout(LIMIT, supervisor.stop()).await.unwrap();
}

#[tokio::test]
async fn a_tailscaled_that_cannot_be_started_is_reported() {
    let folder = Folder::with("");
    let supervisor = start(Paths {
        program: folder.0.join("nothing"),
        ..folder.paths()
    });
    let reason = failed(&supervisor).await;
    assert!(reason.contains("cannot be started"), "{reason}");
    timeout(LIMIT, supervisor.stop()).await.unwrap();
}

/// SHUTDOWN may come at any time, and leaves 2 s.
#[tokio::test]
async fn the_end_comes_soon_while_tailscaled_starts_or_is_dead() {
    for script in ["exec sleep 60", "exit 1"] {
        let folder = Folder::with(script);
        let supervisor = start(folder.paths());
        tokio::task::yield_now().await;
        let began = Instant::now();
        timeout(LIMIT, supervisor.stop()).await.unwrap();
        assert!(began.elapsed() < secs(1), "{script}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_request_waits_for_a_slow_tailscaled_until_its_deadline() {
    let folder = Folder::with("exec sleep 60");
    let supervisor = start(folder.paths());
    let deadline = Instant::now() + ms(100);
    let unavailable = supervisor.tailnet().wait_until_running(deadline).await.unwrap_err();
    assert_eq!(unavailable.code, "LoginPending");
    timeout(LIMIT, supervisor.stop()).await.unwrap();
}
