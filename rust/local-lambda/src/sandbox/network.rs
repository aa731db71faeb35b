//! A network namespace for each environment: loopback, and one interface whose address is link-local only, as on Lambda.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

use crate::process_variables::RUNTIME_API;

/// The interface's name inside, as on Lambda.
const INSIDE: &str = "vinternal_1";

/// The addresses of one environment: a /30 of local-lambda's block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The environment's own.
    pub inside: Ipv4Addr,
    /// Its default route: the end that stays with local-lambda.
    pub outside: Ipv4Addr,
    /// The name of the interface that stays.
    pub interface: String,
}

impl Addresses {
    /// Removes the environment's interface at once; else it goes a little after the last process of its namespace.
    pub(crate) fn remove(&self) -> Result<(), NetworkError> {
        remove(&self.interface)
    }
}

/// Why an environment has no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The `ip` program is not there.
    #[error("the `ip` command is missing: install iproute2 (Debian: apt-get install iproute2)")]
    NoIpCommand,
    /// It is there, but did not do what it was told.
    #[error("`ip` could not {what}: {complaint}")]
    Refused {
        /// What was to be done.
        what: &'static str,
        /// What it said.
        complaint: String,
    },
    /// 28 others have all the addresses.
    #[error("169.254.100.0/24 to 169.254.127.0/24 are all in use by other local-lambdas: end one")]
    NoBlock,
    /// A network namespace could not be made.
    #[error(
        "no network namespace can be made: {0}; local-lambda needs CAP_SYS_ADMIN and CAP_NET_ADMIN: \
         start it as root, or in namespaces of your own with `unshare -Urnm`"
    )]
    NoNamespace(Errno),
    /// The system refused something else.
    #[error("cannot set up the environment's network: {0}")]
    System(#[from] io::Error),
}

/// Moves the calling thread into a new network namespace, connects that with the one it came from, and listens there
/// for the runtime and the extensions.
///
/// # Errors
/// [`NetworkError`].
pub(crate) fn enter_new(addresses: &Addresses) -> Result<TcpListener, NetworkError> {
    let current = || File::open("/proc/thread-self/ns/net");
    let outer = current()?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(NetworkError::NoNamespace)?;
    let inner = current()?;
    let Addresses {
        inside,
        outside,
        interface,
    } = addresses;
    let keeper = std::process::id();
    ip(
        "make the environment's interface",
        &format!(
            "link set lo up\nlink add {INSIDE} type veth peer name {interface} netns {keeper}\n\
             address add {inside}/30 dev {INSIDE}\nlink set {INSIDE} up\n"
        ),
    )?;
    setns(&outer, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
    let outside_end = format!("address add {outside}/30 dev {interface}\nlink set {interface} up\n");
    let done = ip("set up the outer end of the environment's interface", &outside_end);
    setns(&inner, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
    done?;
    ip(
        "set the environment's default route",
        &format!("route add default via {outside}\n"),
    )?;
    Ok(TcpListener::bind(RUNTIME_API)?)
}

/// Removes an interface; one that is gone already is no error.
pub(super) fn remove(interface: &str) -> Result<(), NetworkError> {
    match ip(
        "remove the environment's interface",
        &format!("link delete {interface}\n"),
    ) {
        // The kernel was quicker.
        Err(NetworkError::Refused { complaint, .. }) if complaint.contains("Cannot find device") => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Has `ip` run a script, and returns what it printed.
pub(super) fn ip(what: &'static str, script: &str) -> Result<String, NetworkError> {
    let mut command = Command::new("ip");
    command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NetworkError::NoIpCommand,
        _ => error.into(),
    })?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(NetworkError::Refused { what, complaint })
}
