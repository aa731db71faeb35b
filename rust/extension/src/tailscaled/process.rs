//! The process: how it is started, and how it ended.

use std::{
    io,
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use lambda_env::aws::leads_to_own_port;
use nix::sys::{prctl::set_timerslack, signal::Signal};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
};

use crate::{localapi::client::LocalApi, tailscaled::output::DaemonOutput};

/// What tailscaled may see of the function's environment: never the credentials.
///
/// Without the four of Lambda, it takes Lambda's link-local network for no network at all
/// (tailscale.com/net/netmon and hostinfo).
const LAMBDA_VARIABLES: [&str; 4] = [
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_RUNTIME_API",
];
/// For a control server with a private CA.
const CA_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
/// For a control server behind a proxy of the user's own.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"];
const NO_PROXY_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// How much garbage Go lets tailscaled's heap gather before it collects it, in percent of what is in use. (Go's own: 100.) It
/// saves 25 MB, for no processor's time that could be measured: little is in use, and little garbage made.
const GARBAGE_PERCENT: &str = "40";

/// How late its timers may be on one core, in nanoseconds. (50 µs elsewhere.) Those of tailscaled are of tens of milliseconds and
/// more; Go's own are not.
const TIMER_SLACK: u64 = 5_000_000;

/// Where tailscaled's files and ports are.
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
    /// The ports of this environment that lead into the tailnet: a proxy variable that points at one of them is not passed
    /// on, because tailscaled would log in through itself and never join.
    pub own_ports: Vec<u16>,
    /// What it may take of the environment. `None` where nothing is known of that.
    pub share: Option<Share>,
}

/// What tailscaled may take of the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The memory, in MiB: Go's soft limit. Without one it grows to 300 MB (measured) while 200 MB are downloaded, which ends a
    /// small function.
    pub memory: u64,
    /// The environment has one core at most, in sum: then Go's code runs on one thread at a time, and its timers may be late.
    ///
    /// While there is work, Go wakes every 20 µs to look after its threads, and more of them wake to share the work. Without
    /// either a start takes a fifth less, and a request two fifths less of tailscaled's processor time. With several threads
    /// the timers must be in time: those that look for work would sleep as long, and a start take twice as long.
    pub one_core: bool,
}

impl Paths {
    fn is_on_one_core(&self) -> bool {
        self.share.is_some_and(|share| share.one_core)
    }

    /// Those of an environment in which its SOCKS5 server listens on `socks`.
    pub fn with_socks(socks: SocketAddr, own_ports: Vec<u16>, share: Option<Share>) -> Self {
        Self {
            program: "/opt/bin/tailscaled".into(),
            socket: "/tmp/tailscale.sock".into(),
            state_directory: "/tmp/tailscale".into(),
            socks,
            own_ports,
            share,
        }
    }
}

/// What is started as tailscaled, as the supervisor sees it.
pub trait Program: Send + Sync + 'static {
    /// A process that was started.
    type Running: Running;

    /// Starts it, or says why it cannot be started.
    fn start(&self) -> Result<Self::Running, String>;

    /// Its LocalAPI, before the start as well.
    fn local_api(&self) -> LocalApi;
}

/// A tailscaled that runs, until it ends by itself or is killed.
pub trait Running: Send {
    /// Receives a message when the control server does not know this machine. Only the first caller gets messages.
    fn removals(&mut self) -> mpsc::Receiver<()>;

    /// Waits for its end and says how it ended. Cancel-safe.
    fn ended(&mut self) -> impl Future<Output = String> + Send;

    /// Kills it. Logging out comes before: on SIGTERM tailscaled would take up to 5 s for that itself.
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

/// A running tailscaled. Dropping it kills it.
pub struct Daemon {
    child: Child,
    output: DaemonOutput,
}

impl Daemon {
    fn start(paths: &Paths) -> io::Result<Self> {
        remove_stale(&paths.socket)?;
        let mut child = spawn(command(paths), paths.is_on_one_core())?;
        let output = DaemonOutput::read(child.stdout.take(), child.stderr.take());
        Ok(Self { child, output })
    }
}

impl Running for Daemon {
    fn removals(&mut self) -> mpsc::Receiver<()> {
        self.output.removals()
    }

    async fn ended(&mut self) -> String {
        let how = match self.child.wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("tailscaled was lost: {error}"),
        };
        // They may name peers, and hold a whole Go panic: they are for the log, not for callers.
        match self.output.last_lines().await {
            lines if lines.is_empty() => how,
            lines => {
                tracing::error!("{how}; its last lines:\n{}", lines.join("\n"));
                format!("{how} (its last lines are in the function's log)")
            }
        }
    }

    async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }
}

/// A socket left by an environment that was reset keeps its place in /tmp, and would be taken for tailscaled's.
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
        .envs(passed_on(&paths.own_ports, |name| std::env::var(name).ok()))
        .env("GOGC", GARBAGE_PERCENT)
        .envs(paths.share.map(|share| ("GOMEMLIMIT", format!("{}MiB", share.memory))))
        .envs(paths.is_on_one_core().then_some(("GOMAXPROCS", "1")))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Starts it so that its timers may be `late`, or not. It inherits that from the thread that starts it: there is no other way to
/// set it without privileges (prctl(2), PR_SET_TIMERSLACK).
fn spawn(mut command: Command, late: bool) -> io::Result<Child> {
    let set = |slack| {
        // It costs time alone.
        if let Err(error) = set_timerslack(slack) {
            tracing::warn!("the timer slack cannot be set to {slack} ns: {error}");
        }
    };
    if late {
        set(TIMER_SLACK);
    }
    let child = command.spawn();
    if late {
        // The thread's own again.
        set(0);
    }
    child
}

/// The variables that tailscaled gets.
fn passed_on(own_ports: &[u16], get: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
    let names = LAMBDA_VARIABLES
        .into_iter()
        .chain(CA_VARIABLES)
        .chain(NO_PROXY_VARIABLES)
        .chain(PROXY_VARIABLES);
    names
        .filter_map(|name| Some((name, get(name)?)))
        .filter(|(name, value)| {
            let own = PROXY_VARIABLES.contains(name) && leads_to_own_port(value, own_ports);
            if own {
                tracing::warn!("{name} points at this extension's own port: tailscaled joins the tailnet without it");
            }
            !own
        })
        .collect()
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
    use nix::sys::prctl::get_timerslack;

    use super::*;

    const SOCKS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1055);

    #[test]
    fn tailscaled_sees_no_credentials() {
        let command = command(&Paths::with_socks(SOCKS, vec![1055], None));
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

    #[tokio::test]
    async fn on_one_core_its_timers_may_be_late_and_ours_are_not() {
        let folder = std::env::temp_dir().join(format!("tailscaled-share-{}", std::process::id()));
        let script = "read slack < /proc/$$/timerslack_ns; echo \"threads: $GOMAXPROCS, slack: $slack\"; exit 3";
        let own = get_timerslack().unwrap();
        for one_core in [true, false] {
            let share = Some(Share { memory: 192, one_core });
            let paths = Paths {
                share,
                ..program(&folder, script)
            };
            let mut daemon = Daemon::start(&paths).unwrap();
            assert_eq!(get_timerslack().unwrap(), own);
            daemon.ended().await;
            let (threads, slack) = if one_core { ("1", 5_000_000) } else { ("", own) };
            let said = daemon.output.last_lines().await;
            assert_eq!(said, [format!("threads: {threads}, slack: {slack}")]);
        }
        std::fs::remove_dir_all(&folder).unwrap();
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
            ..Paths::with_socks(SOCKS, vec![1055], None)
        }
    }

    #[tokio::test]
    async fn the_last_lines_go_to_the_log_and_not_to_callers() {
        let folder = std::env::temp_dir().join(format!("tailscaled-test-{}", std::process::id()));
        let paths = program(&folder, "echo one\necho two >&2\nexit 3");
        let end = Daemon::start(&paths).unwrap().ended().await;
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(
            end,
            "tailscaled ended with exit code 3 (its last lines are in the function's log)"
        );
    }

    #[tokio::test]
    async fn a_removal_is_noticed_while_tailscaled_runs() {
        let folder = std::env::temp_dir().join(format!("tailscaled-removed-{}", std::process::id()));
        let paths = program(
            &folder,
            "echo 'initial fetch failed 404: node not found' >&2\nexec sleep 60",
        );
        let mut daemon = Daemon::start(&paths).unwrap();
        assert_eq!(daemon.removals().recv().await, Some(()));
        daemon.kill().await.unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_proxy_variable_that_leads_to_the_own_port_is_not_passed_on() {
        let passed = |value: &str| {
            passed_on(&[1055, 1056], |name| {
                let set = ["HTTPS_PROXY", "https_proxy", "NO_PROXY"].contains(&name);
                set.then(|| value.to_owned())
            })
        };
        let own = "http://localhost:1055";
        assert_eq!(passed(own), [("NO_PROXY", own.to_owned())]);
        assert_eq!(passed("http://proxy.example.com:1055").len(), 3);
    }
}
