//! The function's processes as they are seen from outside, by proc(5): which there are, and what they take.

use std::{fs, io, thread, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The ids of the processes that run `program` or, where it ends with a slash, one of that folder. Paths are those inside
/// the function.
pub fn pids(program: &str) -> Vec<i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let runs = |pid: &i32| {
        // One that has ended meanwhile runs nothing.
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.starts_with(program.as_bytes())
    };
    pids.filter(runs).collect()
}

/// Has a process stand still, from when this returns. Blocks.
pub fn stop(pid: i32) -> io::Result<()> {
    kill(Pid::from_raw(pid), Signal::SIGSTOP)?;
    let stat = format!("/proc/{pid}/stat");
    // Nobody tells of it but its parent's wait(2).
    while !fs::read_to_string(&stat)?.contains(") T ") {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// One process, at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vitals {
    /// Resident memory, in kB.
    pub resident_kb: u64,
    /// The most resident memory it ever took, in kB.
    pub peak_kb: u64,
    /// Open descriptors.
    pub descriptors: usize,
}

impl Vitals {
    /// Those of the process with this id.
    ///
    /// # Errors
    /// The process has ended.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |field: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.ok_or_else(|| io::Error::other(format!("/proc/{pid}/status has no {field}")))
        };
        Ok(Self {
            resident_kb: number("VmRSS")?,
            peak_kb: number("VmHWM")?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        })
    }
}
