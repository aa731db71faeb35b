//! A PostgreSQL server behind the target's machine.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use libtest_mimic::Failed;
use testbed::{
    deadline::within,
    process::{Process, command},
    suite::SuiteContext,
};
use tokio::{net::TcpStream, time::sleep};

use crate::servers::Certificate;

/// Where it listens.
pub(crate) const PORT: u16 = 5432;
/// How long it may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);
/// As whom it runs: it refuses root, so that it gets a user namespace in which this user's ID is another one.
const USER: &str = "65534";

/// The running server.
pub(crate) struct Server {
    /// What it offers TLS with: a PEM file.
    pub(crate) certificate: PathBuf,
    process: Process,
    data: PathBuf,
}

impl Server {
    /// Ends it, and removes its database.
    pub(crate) async fn stop(self) -> Result<(), Failed> {
        self.process.stop(Duration::from_secs(2)).await;
        remove(&self.data)
    }
}

/// The folder of its programs, if this machine has them.
pub(crate) fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
    found.sort();
    found.pop().filter(|folder| folder.join("postgres").exists())
}

/// Starts it with a database of its own, which trusts everybody on this machine, with TLS and without it.
pub(crate) async fn start(context: &SuiteContext, programs: &Path) -> Result<Server, Failed> {
    let data = context.run_dir.join("postgres");
    remove(&data)?;
    std::fs::create_dir_all(&data)?;
    let as_user = |program: &str| {
        let mut words = vec!["--user".to_owned()];
        words.extend(["user", "group"].map(|kind| format!("--map-{kind}={USER}")));
        words.extend(["--".to_owned(), programs.join(program).display().to_string()]);
        words
    };
    let made = Command::new("unshare")
        .args(as_user("initdb"))
        .args(["-A", "trust", "-U", "app", "--no-sync"])
        .args(["--encoding=UTF8", "--no-locale", "-D"])
        .arg(&data)
        .current_dir("/tmp")
        .output()?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let Certificate { certificate, .. } = Certificate::make(&data)?;
    let mut server = command("unshare".as_ref(), &context.run_dir);
    server
        .args(as_user("postgres"))
        .args(["-h", "127.0.0.1", "-p", &PORT.to_string(), "-k", "", "-F", "-l", "-D"])
        .arg(&data);
    let process = Process::spawn("postgres", &mut server)?;
    let listening = async {
        while TcpStream::connect(("127.0.0.1", PORT)).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let ready = within(START_LIMIT, "PostgreSQL's port", listening).await;
    ready.map_err(|late| format!("{late}\n{}", process.log().tail()))?;
    Ok(Server {
        certificate,
        process,
        data,
    })
}

fn remove(data: &Path) -> Result<(), Failed> {
    match std::fs::remove_dir_all(data) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
