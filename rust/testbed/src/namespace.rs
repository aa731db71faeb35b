//! A machine within the machine: network, processes and mounts of one's own, gone with the last process in them.
//!
//! The process that calls [`enter`] stays outside, waits, and passes signals on. It starts its own program again as
//! process 1 of a new pid namespace: when that one ends, for whatever reason, the kernel ends everything it started.
//! A [`private directory`](Inside::run_dir) takes all files, in memory, and goes the same way.

use std::{
    fmt::Display,
    fs, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::{getgid, getuid},
};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::{Error, error::failed};

/// Tells the program that it runs inside; holds the process id of the one outside.
const OUTSIDE_PID: &str = "TESTBED_OUTSIDE_PID";
/// Tells the program inside where its private directory is.
const RUN_DIR: &str = "TESTBED_RUN_DIR";
/// How long everything inside may take to stop after a signal, before it is killed: local-lambda's SHUTDOWN
/// takes up to 2.3 s for each environment, all at once.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// What to do where the kernel, or whoever set it up, does not allow namespaces.
const REMEDY: &str = "\
This needs network, process and mount namespaces of its own. As root they come with CAP_SYS_ADMIN: in a \
container, add it (docker run --privileged). As another user they come with user namespaces, where the \
kernel allows them:
  sysctl kernel.unprivileged_userns_clone=1 (Debian), sysctl kernel.apparmor_restrict_unprivileged_userns=0 \
(Ubuntu 24.04), sysctl user.max_user_namespaces=10000
Or run the command with sudo.";

/// Which side of the wall the calling process is on.
#[derive(Debug)]
pub enum Side {
    /// The program has run inside, and ended.
    Outside(ExitStatus),
    /// This process is the one inside.
    Inside(Inside),
}

/// What the process inside got.
#[derive(Debug)]
pub struct Inside {
    /// An empty directory in memory that vanishes with the namespaces.
    pub run_dir: PathBuf,
}

impl Inside {
    /// The listener that [`enter`] was given, which belongs to the network outside.
    pub fn listener(&self) -> Result<TcpListener, Error> {
        let taken = || -> io::Result<TcpListener> {
            let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        taken().map_err(failed("the listener cannot be taken over"))
    }
}

/// Runs the calling program inside new namespaces: returns there as [`Side::Inside`], and here once that has ended.
///
/// Must be called before any other thread runs: a process with threads cannot enter a user namespace.
/// `listen` is an address out there: a listener on it is handed in, so that what is inside can be reached.
pub fn enter(listen: Option<SocketAddr>) -> Result<Side, Error> {
    match (std::env::var(OUTSIDE_PID), std::env::var_os(RUN_DIR)) {
        (Ok(outside), Some(run_dir)) if std::process::id() == 1 => {
            settle_in(&outside, run_dir.into()).map(Side::Inside)
        }
        _ => stay_outside(listen).map(Side::Outside),
    }
}

/// The way out for `main`: a process that a signal ended shows as 128 and its number, as in a shell.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

fn settle_in(outside: &str, run_dir: PathBuf) -> Result<Inside, Error> {
    set_pdeathsig(Signal::SIGKILL).map_err(failed("PR_SET_PDEATHSIG"))?;
    // /proc is still the one outside: our parent there must be who started us, or it died before the line above.
    let status = fs::read_to_string("/proc/self/status").map_err(failed("/proc/self/status"))?;
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .map(str::trim);
    if parent != Some(outside) {
        return Err(Error::Other("the process that started this one is gone".to_owned()));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).map_err(refused("mounting /proc"))?;
    Ok(Inside { run_dir })
}

fn stay_outside(listen: Option<SocketAddr>) -> Result<ExitStatus, Error> {
    let listener = listen.map(bind).transpose()?;
    let run_dir = std::env::temp_dir().join(format!("testbed-{}", std::process::id()));
    fs::create_dir(&run_dir).map_err(failed(format!("creating {}", run_dir.display())))?;
    let result = prepare(&run_dir).and_then(|()| run_inside(listener, &run_dir));
    // Not mounted if `prepare` failed; what matters is that the directory goes.
    let _ = umount2(&run_dir, MntFlags::MNT_DETACH);
    fs::remove_dir(&run_dir).map_err(failed(format!("removing {}", run_dir.display())))?;
    result
}

fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let what = format!("cannot listen on {address} (choose another address, or port 0 for any free port)");
    TcpListener::bind(address).map_err(failed(what))
}

/// Makes the namespaces, and the private directory in them.
fn prepare(run_dir: &Path) -> Result<(), Error> {
    let spaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    let (uid, gid) = (getuid(), getgid());
    let as_root = if uid.is_root() {
        unshare(spaces)
    } else {
        Err(Errno::EPERM)
    };
    match as_root {
        Err(Errno::EPERM) => {
            let what = "creating a user namespace";
            unshare(spaces | CloneFlags::CLONE_NEWUSER).map_err(refused(what))?;
            let maps = [
                ("setgroups", "deny".to_owned()),
                ("uid_map", format!("0 {uid} 1")),
                ("gid_map", format!("0 {gid} 1")),
            ];
            for (file, text) in maps {
                fs::write(format!("/proc/self/{file}"), text).map_err(refused(format!("writing /proc/self/{file}")))?;
            }
        }
        other => other.map_err(refused("creating namespaces"))?,
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(refused("making mounts private"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), run_dir, Some("tmpfs"), flags, Some("mode=0755")).map_err(refused("mounting a tmpfs"))
}

/// Starts this program again as process 1 of the new pid namespace, and sees it to its end.
fn run_inside(listener: Option<TcpListener>, run_dir: &Path) -> Result<ExitStatus, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("starting tokio"))?;
    runtime.block_on(async {
        // Before there is a child that a signal could fail to reach.
        let on = |kind| signal(kind).map_err(failed("awaiting signals"));
        let mut interrupt = on(SignalKind::interrupt())?;
        let (mut terminate, mut hangup) = (on(SignalKind::terminate())?, on(SignalKind::hangup())?);
        let program = std::env::current_exe().map_err(failed("finding this program"))?;
        let mut child = Command::new(&program)
            .args(std::env::args_os().skip(1))
            .env(OUTSIDE_PID, std::process::id().to_string())
            .env(RUN_DIR, run_dir)
            .stdin(listener.map_or_else(Stdio::null, |listener| Stdio::from(OwnedFd::from(listener))))
            // A group of its own: Ctrl-C reaches this process alone, which passes it on, once.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed(format!("starting {} inside", program.display())))?;
        let waiting = "waiting for the process inside";
        let received = tokio::select! {
            status = child.wait() => return status.map_err(failed(waiting)),
            _ = interrupt.recv() => Signal::SIGINT,
            _ = terminate.recv() => Signal::SIGTERM,
            _ = hangup.recv() => Signal::SIGTERM,
        };
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let passed = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), received);
            passed.map_err(failed("passing a signal on"))?;
        }
        match timeout(STOP_LIMIT, child.wait()).await {
            Ok(status) => status.map_err(failed(waiting)),
            Err(_) => {
                child.kill().await.map_err(failed("killing the process inside"))?;
                child.wait().await.map_err(failed(waiting))
            }
        }
    })
}

fn refused<E: Display>(what: impl Display) -> impl FnOnce(E) -> Error {
    move |error| Error::Other(format!("{what}: {error}\n{REMEDY}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_shows_in_the_exit_code_as_in_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
