//! A network namespace for each environment: loopback, and one interface whose address is link-local only, as on Lambda.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{Error, failed};
use crate::process_variables::RUNTIME_API;

/// The interface's name inside, as on Lambda.
const INSIDE: &str = "vinternal_1";

/// The addresses of one environment: a /30 of local-lambda's block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// The environment's own.
    pub inside: Ipv4Addr,
    /// Its default route: the end that stays with local-lambda.
    pub outside: Ipv4Addr,
    /// The name of the interface that stays.
    pub interface: String,
}

impl Addresses {
    /// Removes the environment's interface at once; else it goes a little after the last process of its namespace.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        remove(&self.interface)
    }
}

/// Moves the calling thread into a new network namespace, connects that with the one it came from, and listens there
/// for the runtime and the extensions.
pub(crate) fn enter_new(addresses: &Addresses) -> Result<TcpListener, Error> {
    let current = || File::open("/proc/thread-self/ns/net");
    let outer = current()?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(failed("no network namespace"))?;
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
pub(super) fn remove(interface: &str) -> Result<(), Error> {
    match ip(
        "remove the environment's interface",
        &format!("link delete {interface}\n"),
    ) {
        // The kernel was quicker.
        Err(Error(complaint)) if complaint.contains("Cannot find device") => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Has `ip` run a script, and returns what it printed.
pub(super) fn ip(what: &str, script: &str) -> Result<String, Error> {
    let mut command = Command::new("ip");
    command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed("`ip`, which is in iproute2"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Error(format!("`ip` could not {what}: {}", complaint.trim())))
}
