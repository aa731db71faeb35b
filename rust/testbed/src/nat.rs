//! What a NAT does to a frozen sandbox: it forgets the sandbox's flows, and drops whatever still comes on them.
//!
//! Made of routing rules, so that it takes no more than the `ip` and `ss` commands of iproute2: a blackhole for each
//! forgotten flow, in both directions, looked up before the table of the machine's own addresses.

use std::{collections::BTreeSet, fs, process::Stdio};

use tokio::process::Command;

use crate::{Error, distance::FUNCTION_SIDE, error::failed};

/// Where the function's environments are, as seen from here: each local-lambda has a /24 of it.
const ENVIRONMENTS: &str = "169.254.96.0/19";
/// The function's way out, as its environment calls it.
const INTERFACE: &str = "vinternal_1";
/// The place of our rules: before the machine's own addresses.
const PREFERENCE: &str = "90";

/// Drops all UDP of the function, and of nodes on its side of a link: what a network does that lets only TCP out. All traffic then goes by DERP.
pub async fn block_udp() -> Result<(), Error> {
    look_at_rules_first(None).await?;
    add(None, &format!("from {ENVIRONMENTS} ipproto udp blackhole")).await?;
    add(None, &format!("from {FUNCTION_SIDE} ipproto udp blackhole")).await?;
    Ok(())
}

/// The TCP flows that the function has now, by its ports.
pub async fn flows() -> Result<BTreeSet<u16>, Error> {
    let listed = run(None, "ss", &["-Htn", "state", "established", "dst", ENVIRONMENTS]).await?;
    Ok(listed.lines().filter_map(peer_port).collect())
}

/// Forgets every TCP flow that the function has now. `pid` is a process inside its environment.
/// Returns how many were not forgotten yet.
pub async fn blackhole_flows(pid: u32) -> Result<usize, Error> {
    look_at_rules_first(None).await?;
    look_at_rules_first(Some(pid)).await?;
    let mut forgotten = 0;
    for port in flows().await? {
        let outgoing = format!("from {ENVIRONMENTS} ipproto tcp sport {port} blackhole");
        forgotten += usize::from(add(None, &outgoing).await?);
        add(Some(pid), &format!("ipproto tcp dport {port} blackhole")).await?;
    }
    Ok(forgotten)
}

/// Knows all flows again, and lets UDP pass: for the next function.
pub async fn reset() -> Result<(), Error> {
    let listed = ip(None, &["rule", "show", "pref", PREFERENCE]).await?;
    for _ in listed.lines() {
        ip(None, &["rule", "del", "pref", PREFERENCE]).await?;
    }
    Ok(())
}

/// A function without a network, until it is plugged in again.
#[derive(Debug)]
pub struct Unplugged {
    pid: u32,
    /// Its default route, which goes with the interface.
    route: String,
}

/// Takes the network away from the function whose environment the process `pid` is in.
pub async fn unplug(pid: u32) -> Result<Unplugged, Error> {
    let route = ip(Some(pid), &["route", "show", "default"]).await?;
    ip(Some(pid), &["link", "set", INTERFACE, "down"]).await?;
    Ok(Unplugged {
        pid,
        route: route.trim().to_owned(),
    })
}

impl Unplugged {
    /// Gives it back.
    pub async fn plug_in(self) -> Result<(), Error> {
        ip(Some(self.pid), &["link", "set", INTERFACE, "up"]).await?;
        let add = ["route", "add"].into_iter();
        let route: Vec<_> = add.chain(self.route.split_whitespace()).collect();
        ip(Some(self.pid), &route).await.map(drop)
    }
}

/// Adds a rule of ours, unless it is there already. Says whether it is new.
async fn add(pid: Option<u32>, rule: &str) -> Result<bool, Error> {
    let place = ["rule", "add", "pref", PREFERENCE].into_iter();
    match ip(pid, &place.chain(rule.split(' ')).collect::<Vec<_>>()).await {
        Ok(_) => Ok(true),
        Err(error) if error.to_string().contains("File exists") => Ok(false),
        Err(error) => Err(error),
    }
}

/// The peer's port in a line of `ss`: queues, own address, peer's address.
fn peer_port(line: &str) -> Option<u16> {
    line.split_whitespace().nth(3)?.rsplit_once(':')?.1.parse().ok()
}

/// Own addresses are looked up in the table `local`, before any rule that can be added; and packets of known sockets
/// pass by all rules. Both are changed here, for one network namespace.
async fn look_at_rules_first(pid: Option<u32>) -> Result<(), Error> {
    let rules = ip(pid, &["rule", "show"]).await?;
    if rules.lines().any(|rule| rule.starts_with("0:")) {
        ip(pid, &["rule", "add", "pref", "1000", "lookup", "local"]).await?;
        ip(pid, &["rule", "del", "pref", "0"]).await?;
    }
    let early_demux = "/proc/sys/net/ipv4/tcp_early_demux";
    match pid {
        None => fs::write(early_demux, "0").map_err(failed(early_demux)),
        Some(_) => run(pid, "sh", &["-c", &format!("echo 0 > {early_demux}")])
            .await
            .map(drop),
    }
}

async fn ip(pid: Option<u32>, arguments: &[&str]) -> Result<String, Error> {
    run(pid, "ip", arguments).await
}

/// Runs a command, in the network namespace of `pid` if there is one.
async fn run(pid: Option<u32>, program: &str, arguments: &[&str]) -> Result<String, Error> {
    let mut command = match pid {
        None => Command::new(program),
        Some(pid) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net=/proc/{pid}/ns/net")).arg(program);
            command
        }
    };
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let shown = format!("`{program} {}` failed", arguments.join(" "));
    let output = command.output().await.map_err(failed(&shown))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(shown)(String::from_utf8_lossy(&output.stderr).trim()))
}
