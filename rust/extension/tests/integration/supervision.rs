//! A daemon that does not do what it should: a small program in its place.

use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use extension::{credentials::Credentials, phase::Phase, tailnet::Tailnet, tailscaled::Paths, trouble::Trouble};
use tokio::time::timeout;

use crate::stage::config;

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A folder with a daemon in it that is a shell script.
struct Folder(PathBuf);

impl Folder {
    fn with(name: &str, script: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("supervision-{name}-{}", std::process::id()));
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
            socks: ([127, 0, 0, 1], 0).into(),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn start(paths: Paths) -> Tailnet {
    let config = config();
    Tailnet::start(&config, paths, Credentials::new(&config))
}

#[tokio::test]
async fn a_daemon_that_dies_again_and_again_is_told_with_its_last_words() {
    let folder = Folder::with("crash", "echo out of luck; exit 3");
    let tailnet = start(folder.paths());
    let phase = timeout(LIMIT, tailnet.handle().settled(LIMIT)).await.unwrap();
    let Phase::Down(Trouble::Daemon { words }) = &phase else {
        panic!("{phase:?}")
    };
    assert!(
        words.contains("exit code 3") && words.contains("out of luck"),
        "{words}"
    );
    let why = tailnet.handle().ready(LIMIT).await.unwrap_err();
    assert!(why.contains("started again"), "{why}");
    timeout(LIMIT, tailnet.stop()).await.unwrap();
}

#[tokio::test]
async fn a_daemon_that_cannot_be_started_is_told() {
    let folder = Folder::with("missing", "");
    let paths = Paths {
        program: folder.0.join("nothing"),
        ..folder.paths()
    };
    let tailnet = start(paths);
    let phase = timeout(LIMIT, tailnet.handle().settled(LIMIT)).await.unwrap();
    assert!(phase.why_not().unwrap().contains("cannot be started"), "{phase:?}");
    timeout(LIMIT, tailnet.stop()).await.unwrap();
}

/// SHUTDOWN may come at any time, and leaves 2 s.
#[tokio::test]
async fn the_end_comes_soon_while_the_daemon_starts_or_is_dead() {
    for (name, script) in [("slow", "exec sleep 60"), ("dead", "exit 1")] {
        let folder = Folder::with(name, script);
        let tailnet = start(folder.paths());
        tokio::task::yield_now().await;
        let began = Instant::now();
        timeout(LIMIT, tailnet.stop()).await.unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{name}: {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn one_who_asks_a_slow_daemon_waits_as_long_as_he_said() {
    let folder = Folder::with("patience", "exec sleep 60");
    let tailnet = start(folder.paths());
    let why = tailnet.handle().ready(Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(why, "the login to the tailnet is still under way");
    timeout(LIMIT, tailnet.stop()).await.unwrap();
}
