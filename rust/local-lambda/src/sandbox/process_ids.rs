//! The process ids of an environment's processes as local-lambda's own pid namespace has them.

use std::fs;

/// A child of the supervisor whose id inside is known; none if it has ended.
pub(crate) fn seen_from_here(supervisor: u32, inside: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        is(&status, supervisor, inside).then_some(pid)
    })
}

/// `NSpid` lists a process's ids from the reader's namespace to the innermost (proc_pid_status(5)).
fn is(status: &str, parent: u32, inside: u32) -> bool {
    let last = |field: &str| {
        let line = status.lines().find(|line| line.starts_with(field))?;
        line.split_whitespace().next_back()?.parse::<u32>().ok()
    };
    last("PPid:") == Some(parent) && last("NSpid:") == Some(inside)
}
