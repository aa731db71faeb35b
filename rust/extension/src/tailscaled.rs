//! The daemon's process: how it is started, what it says, and how it ended.

use std::{
    io,
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use nix::sys::signal::Signal;
use tokio::{
    process::{Child, Command},
    sync::mpsc,
};

use crate::{local_api::LocalApi, spoken::Spoken};

/// What the daemon may see of the function's environment: never the credentials.
///
/// Without the four of Lambda, it takes Lambda's link-local network for no network at all
/// (tailscale.com/net/netmon and hostinfo). The others reach a control server with a private CA or behind a proxy.
const PASSED_ON: [&str; 9] = [
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_RUNTIME_API",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
];

/// Where the daemon's files are.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The program.
    pub program: PathBuf,
    /// The LocalAPI's socket.
    pub socket: PathBuf,
    /// Where it may put files (not its state: that stays in memory).
    pub state_directory: PathBuf,
    /// Where its SOCKS5 server listens.
    pub socks: SocketAddr,
}

impl Paths {
    /// Those of an environment in which its SOCKS5 server listens on `socks`.
    pub fn with_socks(socks: SocketAddr) -> Self {
        Self {
            program: "/opt/bin/tailscaled".into(),
            socket: "/tmp/tailscale.sock".into(),
            state_directory: "/tmp/tailscale".into(),
            socks,
        }
    }
}

/// What is started as the daemon, as its owner sees it.
pub trait Program: Send + Sync + 'static {
    /// What a start brings.
    type Running: Running;

    /// Starts it; says why it cannot be, if so.
    fn start(&self) -> Result<Self::Running, String>;

    /// Its LocalAPI, before the start as well.
    fn local_api(&self) -> LocalApi;
}

/// A daemon that runs, until it ends by itself or is killed.
pub trait Running: Send {
    /// Where it is heard that the control server does not know its machine any more. Only the first caller hears of it.
    fn disowned(&mut self) -> mpsc::Receiver<()>;

    /// Waits for its end and says how it came. A call may be given up, and made again.
    fn ended(&mut self) -> impl Future<Output = String> + Send;

    /// Ends it at once. Logging out comes before: on SIGTERM tailscaled would take up to 5 s for that itself.
    fn kill(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

impl Program for Paths {
    type Running = Daemon;

    fn start(&self) -> Result<Daemon, String> {
        Daemon::start(self).map_err(|error| format!("{} cannot be started: {error}", self.program.display()))
    }

    fn local_api(&self) -> LocalApi {
        LocalApi::new(&self.socket)
    }
}

/// A running daemon. Dropping it kills it.
pub struct Daemon {
    child: Child,
    spoken: Spoken,
}

impl Daemon {
    fn start(paths: &Paths) -> io::Result<Self> {
        remove_stale(&paths.socket)?;
        let mut child = command(paths).spawn()?;
        let spoken = Spoken::listen(child.stdout.take(), child.stderr.take());
        Ok(Self { child, spoken })
    }
}

impl Running for Daemon {
    fn disowned(&mut self) -> mpsc::Receiver<()> {
        self.spoken.disowned()
    }

    async fn ended(&mut self) -> String {
        let how = match self.child.wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("tailscaled was lost: {error}"),
        };
        match self.spoken.last_lines().await {
            lines if lines.is_empty() => how,
            lines => format!("{how}; its last lines: {}", lines.join(" | ")),
        }
    }

    async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }
}

/// A socket left by an environment that was reset keeps its place in /tmp, and would be taken for the daemon's.
fn remove_stale(socket: &Path) -> io::Result<()> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn command(paths: &Paths) -> Command {
    let mut command = Command::new(&paths.program);
    command
        .arg("--tun=userspace-networking")
        .arg(format!("--socks5-server={}", paths.socks))
        .arg(format!("--socket={}", paths.socket.display()))
        .arg("--state=mem:")
        .arg(format!("--statedir={}", paths.state_directory.display()))
        .env_clear()
        .env("TS_NO_LOGS_NO_SUPPORT", "true")
        .env("HOME", &paths.state_directory)
        .envs(
            PASSED_ON
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("tailscaled ended with exit code {code}"),
        (None, Some(number)) => {
            let name = Signal::try_from(number).map_or("unknown", Signal::as_str);
            format!("tailscaled was killed by signal {number} ({name})")
        }
        (None, None) => "tailscaled ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SOCKS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1055);

    #[test]
    fn the_daemon_sees_no_credentials() {
        let command = command(&Paths::with_socks(SOCKS));
        let names: Vec<_> = command
            .as_std()
            .get_envs()
            .map(|(name, _)| name.to_str().unwrap().to_owned())
            .collect();
        assert!(
            !names
                .iter()
                .any(|name| name.contains("KEY") || name.contains("TOKEN") || name == "PATH"),
            "{names:?}"
        );
    }

    #[test]
    fn an_end_is_described_by_its_cause() {
        assert_eq!(
            describe(ExitStatus::from_raw(9)),
            "tailscaled was killed by signal 9 (SIGKILL)"
        );
        assert_eq!(
            describe(ExitStatus::from_raw(1 << 8)),
            "tailscaled ended with exit code 1"
        );
    }

    /// A daemon that is a shell script.
    fn program(folder: &Path, script: &str) -> Paths {
        std::fs::create_dir_all(folder).unwrap();
        let program = folder.join("daemon");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Paths {
            program,
            socket: folder.join("socket"),
            ..Paths::with_socks(SOCKS)
        }
    }

    #[tokio::test]
    async fn the_last_lines_are_told_with_the_end() {
        let folder = std::env::temp_dir().join(format!("tailscaled-test-{}", std::process::id()));
        let paths = program(&folder, "echo one\necho two >&2\nexit 3");
        let end = Daemon::start(&paths).unwrap().ended().await;
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(end.starts_with("tailscaled ended with exit code 3"), "{end}");
        assert!(end.contains("one") && end.contains("two"), "{end}");
    }

    #[tokio::test]
    async fn a_daemon_tells_of_its_removal_while_it_runs() {
        let folder = std::env::temp_dir().join(format!("tailscaled-removed-{}", std::process::id()));
        let paths = program(
            &folder,
            "echo 'initial fetch failed 404: node not found' >&2\nexec sleep 60",
        );
        let mut daemon = Daemon::start(&paths).unwrap();
        assert_eq!(daemon.disowned().recv().await, Some(()));
        daemon.kill().await.unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
