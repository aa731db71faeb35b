//! What the processes of an environment take: the processor's time, and memory.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The host's own supervisor in each environment: not of the function's.
const HOST: &str = "local-lambda";

/// A process of an environment.
#[derive(Debug)]
pub(crate) struct Member {
    /// As the kernel knows it: 15 characters at most.
    pub(crate) name: String,
    proc: PathBuf,
}

/// The function's processes in the network namespace of `pid`.
pub(crate) fn members(pid: u32) -> io::Result<Vec<Member>> {
    let namespace = fs::read_link(format!("/proc/{pid}/ns/net"))?;
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let proc = entry?.path();
        // A process may end meanwhile, and what is not a process has no such file.
        let inside = fs::read_link(proc.join("ns/net")).is_ok_and(|link| link == namespace);
        let is_host = fs::read_link(proc.join("exe")).is_ok_and(|exe| exe.ends_with(HOST));
        if inside
            && !is_host
            && let Ok(name) = fs::read_to_string(proc.join("comm"))
        {
            members.push(Member {
                name: name.trim().to_owned(),
                proc,
            });
        }
    }
    Ok(members)
}

impl Member {
    /// The processor's time of its threads so far, to the nanosecond. Threads that have ended do not count: none of the
    /// handlers ends any while it serves requests.
    pub(crate) fn processor(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(self.proc.join("task"))? {
            // A thread may end meanwhile.
            if let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) {
                nanos += text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident memory in MB.
    pub(crate) fn resident(&self) -> io::Result<f64> {
        megabytes(&self.proc.join("status"), "VmRSS:")
    }

    /// The most resident memory in MB since [`forget_peak`](Self::forget_peak).
    pub(crate) fn peak(&self) -> io::Result<f64> {
        megabytes(&self.proc.join("status"), "VmHWM:")
    }

    /// Resident memory in MB, with shared pages divided among those who share them.
    pub(crate) fn proportional(&self) -> io::Result<f64> {
        megabytes(&self.proc.join("smaps_rollup"), "Pss:")
    }

    /// Starts the peak anew (proc(5), clear_refs).
    pub(crate) fn forget_peak(&self) -> io::Result<()> {
        fs::write(self.proc.join("clear_refs"), "5")
    }
}

/// The processor's time of all of them.
pub(crate) fn processor(members: &[Member]) -> io::Result<Duration> {
    members.iter().map(Member::processor).sum()
}

fn megabytes(file: &Path, field: &str) -> io::Result<f64> {
    let text = fs::read_to_string(file)?;
    let kilobytes = text.lines().find_map(|line| {
        line.strip_prefix(field)?
            .trim()
            .strip_suffix(" kB")?
            .trim()
            .parse::<f64>()
            .ok()
    });
    let missing = || io::Error::other(format!("{} has no {field}", file.display()));
    Ok(kilobytes.ok_or_else(missing)? * 1024.0 / 1e6)
}
