//! What the processes of an environment take: the processor's time, and memory.

use std::{fs, io, time::Duration};

use testbed::{processor::beside, vitals::Vitals};

/// The host's own supervisor in each environment: not of the function's.
const HOST: &str = "local-lambda";

/// A process of an environment.
#[derive(Debug)]
pub(crate) struct Member {
    /// As the kernel knows it: 15 characters at most.
    pub(crate) name: String,
    pid: u32,
}

/// The function's processes in the network namespace of `pid`.
pub(crate) fn members(pid: u32) -> io::Result<Vec<Member>> {
    let is_host = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with(HOST));
    // A process may end meanwhile.
    let member = |pid: u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned();
        Some(Member { name, pid })
    };
    let pids = beside(pid)?.into_iter().filter(|pid| !is_host(pid));
    Ok(pids.filter_map(member).collect())
}

impl Member {
    /// The processor's time of its threads so far, to the nanosecond. Threads that have ended do not count: none of the
    /// handlers ends any while it serves requests.
    pub(crate) fn processor(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // A thread may end meanwhile.
            if let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) {
                nanos += text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident memory in MB.
    pub(crate) fn resident(&self) -> io::Result<f64> {
        Ok(megabytes(Vitals::of(self.pid)?.resident_kb))
    }

    /// The most resident memory in MB since [`forget_peak`](Self::forget_peak).
    pub(crate) fn peak(&self) -> io::Result<f64> {
        Ok(megabytes(Vitals::of(self.pid)?.peak_kb))
    }

    /// Resident memory in MB, with shared pages divided among those who share them.
    pub(crate) fn proportional(&self) -> io::Result<f64> {
        let file = format!("/proc/{}/smaps_rollup", self.pid);
        let text = fs::read_to_string(&file)?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        kilobytes
            .map(megabytes)
            .ok_or_else(|| io::Error::other(format!("{file} has no Pss")))
    }

    /// Starts the peak anew (proc(5), clear_refs).
    pub(crate) fn forget_peak(&self) -> io::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5")
    }
}

fn megabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 * 1024.0 / 1e6
}
