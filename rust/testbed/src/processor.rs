//! What an environment costs the processor.

use std::{fs, io, time::Duration};

/// The processes in the network namespace of `pid`: those of its environment.
pub fn beside(pid: u32) -> io::Result<Vec<u32>> {
    let namespace = fs::read_link(format!("/proc/{pid}/ns/net"))?;
    let processes = fs::read_dir("/proc")?.flatten();
    // What is not a process has no such file, and a process may end meanwhile.
    let inside =
        processes.filter(|entry| fs::read_link(entry.path().join("ns/net")).is_ok_and(|link| link == namespace));
    Ok(inside
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect())
}

/// The processor's time so far of all of them.
pub fn used(pid: u32) -> io::Result<Duration> {
    Ok(beside(pid)?.into_iter().filter_map(|pid| of(pid).ok()).sum())
}

/// That of one process.
pub fn of(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks_of(&stat).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is {stat:?}")))?;
    // USER_HZ is 100 on all of Linux's architectures that there is a Lambda for.
    Ok(Duration::from_millis(10 * ticks))
}

/// utime and stime of /proc/PID/stat (proc(5)): fields 14 and 15, of which 3 is the first after the name.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let (user, system) = (fields.next()?, fields.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}
