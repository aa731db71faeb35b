//! The network inside: loopback, and an interface with an address and a default route that lead nowhere.
//!
//! With loopback alone tailscaled takes itself for offline and never logs in.

use std::{
    fs,
    io::{self, Write},
    net::Ipv4Addr,
    path::Path,
    process::{Command, Output, Stdio},
};

use nix::mount::{MsFlags, mount};

use crate::{Error, error::failed};

/// This machine's address in the network inside (TEST-NET-1, RFC 5737): DERP and AWS are reached by it.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The address of control servers. tailscaled goes to port 443, where nobody is, when it dials one at an http address again
/// within 2 minutes; but not at a private one.
pub const CONTROL_ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 2);

/// A veth pair, because the `dummy` kind is not on every kernel. Nobody answers for the gateway.
const SET_UP: &str = "\
link set lo up
link add uplink type veth peer name nowhere
link set nowhere up
link set uplink up
address add 192.0.2.2/24 dev uplink
address add 172.31.0.2/32 dev uplink
route add default via 192.0.2.1 dev uplink
";

const NO_IP: &str = "the command `ip` cannot be run; install iproute2 (apt install iproute2, dnf install iproute)";

/// A name of AWS, which leads to [`ADDRESS`]: for the SDKs' exceptions from proxies, which go by names.
pub const STS: &str = "sts.eu-central-1.amazonaws.com";

/// Sets the network up, names included. The process must be inside namespaces of its own.
pub fn set_up(run_dir: &Path) -> Result<(), Error> {
    ip(SET_UP)?;
    // The machine's own name servers are out of reach, and Python's HTTP server asks for its own address's name before it
    // serves: nobody listens on this address's port 53, so the refusal comes at once.
    let hosts = format!("127.0.0.1 localhost\n::1 localhost\n{ADDRESS} testbed {STS}\n");
    let resolver = format!("nameserver {ADDRESS}\noptions timeout:1 attempts:1\n");
    for (name, text) in [("hosts", hosts), ("resolv.conf", resolver)] {
        replace(name, &text, run_dir).map_err(failed(format!("/etc/{name} cannot be replaced for those inside")))?;
    }
    Ok(())
}

/// Puts a file of our own over the one in /etc, for this mount namespace alone.
fn replace(name: &str, text: &str, run_dir: &Path) -> io::Result<()> {
    let there = Path::new("/etc").join(name);
    // A machine without the file has nothing that would lead anybody astray.
    if !there.exists() {
        return Ok(());
    }
    let ours = run_dir.join(name);
    fs::write(&ours, text)?;
    Ok(mount(
        Some(&ours),
        &there,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?)
}

/// Has the command `ip` do what `batch` says.
pub(crate) fn ip(batch: &str) -> Result<(), Error> {
    let run = || -> io::Result<Output> {
        let mut command = Command::new("ip");
        command
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        let mut ip = command.spawn()?;
        if let Some(mut stdin) = ip.stdin.take() {
            stdin.write_all(batch.as_bytes())?;
        }
        ip.wait_with_output()
    };
    let output = run().map_err(failed(NO_IP))?;
    let words = String::from_utf8_lossy(&output.stderr);
    output
        .status
        .success()
        .then_some(())
        .ok_or_else(|| failed("the network cannot be set up")(words.trim()))
}
