//! A port inside the function, taken by another.

use std::{
    fs::File,
    io,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};

/// How long a port may stay taken by another.
const FREE_LIMIT: Duration = Duration::from_secs(5);

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
                    thread::sleep(Duration::from_millis(1));
                }
                done => return done,
            }
        }
    });
    listening.join().expect("BUG: the thread that listens does not panic")
}
