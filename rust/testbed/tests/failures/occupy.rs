//! The function's processes, as they are seen from outside.

use std::{
    fs::File,
    io,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long a port may stay taken by another.
const FREE_LIMIT: Duration = Duration::from_secs(5);

/// The ids of the processes that run `program` or, where it ends with a slash, one of that folder. Paths are those inside
/// the function.
pub(crate) fn pids(program: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let runs = |pid: &i32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.starts_with(program.as_bytes())
    };
    pids.filter(runs).collect()
}

/// Has a process stand still, from when this returns. Blocks.
pub(crate) fn stop(pid: i32) -> io::Result<()> {
    kill(Pid::from_raw(pid), Signal::SIGSTOP)?;
    let stat = format!("/proc/{pid}/stat");
    // Nobody tells of it but its parent's wait(2).
    while !std::fs::read_to_string(&stat)?.contains(") T ") {
        thread::yield_now();
    }
    Ok(())
}

/// Listens on a port of the loopback that the process `pid` has, as soon as the port is free. Blocks.
pub(crate) fn occupy(pid: i32, port: u16) -> io::Result<TcpListener> {
    let network = File::open(format!("/proc/{pid}/ns/net"))?;
    // A thread of its own: it stays in that network.
    let listening = thread::spawn(move || {
        setns(network, CloneFlags::CLONE_NEWNET)?;
        let deadline = Instant::now() + FREE_LIMIT;
        loop {
            match TcpListener::bind(("127.0.0.1", port)) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    // Nobody tells of a port that becomes free.
                    thread::yield_now();
                }
                done => return done,
            }
        }
    });
    listening.join().expect("BUG: the thread that listens does not panic")
}
