//! Control groups: the freezer and the CPU share of an environment, where this machine lets us write them.
//!
//! Only the freezer of version 2 is used (mounted beside version 1 on most machines): what version 1 froze ignores
//! SIGKILL until somebody thaws it, so a local-lambda that was killed would leave processes that nobody can end.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::hierarchy::{claim, find, sweep};
use crate::config::{Freeze, Function};

/// What one vCPU costs in memory: at 1,769 MB a function has the equivalent of one
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>).
const MEMORY_OF_A_CPU: u64 = 1769;

/// The scheduling period in microseconds: 20 ms, as measured on Lambda by others.
const PERIOD: u64 = 20_000;

/// A freeze takes effect as soon as every process has left the kernel: that long at most.
const FREEZE_LIMIT: Duration = Duration::from_secs(2);

/// Why control groups cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The freezer was asked for, and is not to be had.
    #[error("`freeze` is cgroup, but {reason}; run as root on a machine with cgroup v2, or use signals")]
    NoFreezer {
        /// What is missing.
        reason: String,
    },
    /// The CPU share was asked for, and is not to be had.
    #[error("`cpuQuota` is true, but {reason}; run as root on a machine with the cpu controller, or leave it out")]
    NoCpu {
        /// What is missing.
        reason: String,
    },
    /// A group that was there refused.
    #[error("cannot write {path}: {source}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not every process stopped in time.
    #[error("the environment did not freeze within {} s", FREEZE_LIMIT.as_secs())]
    NotFrozen,
}

/// The parent groups of this local-lambda, one in each hierarchy that is used.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    freezer: Option<PathBuf>,
    cpu: Option<Cpu>,
    /// Held open and locked: what nobody has locked was left behind.
    locks: Vec<File>,
}

#[derive(Debug)]
struct Cpu {
    parent: PathBuf,
    version: Version,
    memory_mb: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Groups {
    /// Makes the groups that a function's configuration asks for.
    ///
    /// # Errors
    /// [`CgroupError::NoFreezer`] and [`CgroupError::NoCpu`], when they were asked for and cannot be had.
    pub(crate) fn make(function: &Function) -> Result<Self, CgroupError> {
        let mut groups = Self::default();
        if matches!(function.freeze, Freeze::Auto | Freeze::Cgroup) {
            match groups.make_parent("") {
                Ok(parent) => groups.freezer = Some(parent),
                Err(reason) if function.freeze == Freeze::Cgroup => return Err(CgroupError::NoFreezer { reason }),
                Err(reason) => tracing::info!(%reason, "no cgroup freezer: environments are frozen by signals"),
            }
        }
        if function.cpu_quota {
            let cpu = groups.make_cpu(u64::from(function.memory_mb));
            groups.cpu = Some(cpu.map_err(|reason| CgroupError::NoCpu { reason })?);
        }
        Ok(groups)
    }

    fn make_cpu(&mut self, memory_mb: u64) -> Result<Cpu, String> {
        if let Ok(parent) = self.make_parent("cpu") {
            return Ok(Cpu {
                parent,
                version: Version::One,
                memory_mb,
            });
        }
        // A process has one place in version 2: the share and the freezer are then the same group's.
        let parent = match &self.freezer {
            Some(parent) => parent.clone(),
            None => self.make_parent("")?,
        };
        for group in [parent.parent().unwrap_or(&parent), &parent] {
            let control = group.join("cgroup.subtree_control");
            fs::write(&control, "+cpu").map_err(|error| format!("{} refuses +cpu: {error}", control.display()))?;
        }
        Ok(Cpu {
            parent,
            version: Version::Two,
            memory_mb,
        })
    }

    /// Makes a group of our own under the one that we are in.
    fn make_parent(&mut self, controller: &str) -> Result<PathBuf, String> {
        let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"));
        let place = find(&read("/proc/self/mounts")?, &read("/proc/self/cgroup")?, controller)
            .ok_or_else(|| format!("there is no cgroup {controller} hierarchy"))?;
        let made = claim(&place).map_err(|error| format!("nothing can be made in {}: {error}", place.display()));
        let (path, lock) = made?;
        self.locks.push(lock);
        sweep(&place);
        Ok(path)
    }

    /// Whether the freezer is to be had.
    pub(crate) fn can_freeze(&self) -> bool {
        self.freezer.is_some()
    }

    /// The folders to remove in the end.
    pub(crate) fn parents(&self) -> Vec<PathBuf> {
        let mut parents: Vec<_> = self
            .freezer
            .iter()
            .chain(self.cpu.as_ref().map(|cpu| &cpu.parent))
            .cloned()
            .collect();
        parents.dedup();
        parents
    }

    /// Makes the groups of one environment.
    pub(crate) fn add(&self, environment: u64) -> Result<EnvironmentGroups, CgroupError> {
        let name = format!("environment-{environment}");
        let parents = self.parents();
        let groups = parents
            .iter()
            .map(|parent| Group::make(parent, &name))
            .collect::<Result<_, _>>()?;
        if let Some(cpu) = &self.cpu {
            cpu.limit(&cpu.parent.join(&name))?;
        }
        Ok(EnvironmentGroups {
            groups,
            freezer: self.freezer.as_ref().map(|parent| parent.join(&name)),
        })
    }
}

impl Cpu {
    fn limit(&self, group: &Path) -> Result<(), CgroupError> {
        let share = quota(self.memory_mb);
        match self.version {
            Version::Two => write(&group.join("cpu.max"), &format!("{share} {PERIOD}")),
            Version::One => {
                write(&group.join("cpu.cfs_period_us"), &PERIOD.to_string())?;
                write(&group.join("cpu.cfs_quota_us"), &share.to_string())
            }
        }
    }
}

/// Microseconds of CPU time in each period.
fn quota(memory_mb: u64) -> u64 {
    PERIOD * memory_mb / MEMORY_OF_A_CPU
}

/// An environment's groups; removed when dropped, by when no process may be in them.
#[derive(Debug, Default)]
pub(crate) struct EnvironmentGroups {
    groups: Vec<Group>,
    freezer: Option<PathBuf>,
}

impl EnvironmentGroups {
    /// Puts a process in: what it starts is in too. It itself must leave again before a freeze, if it is to go on.
    pub(crate) fn enter(&self, pid: u32) -> Result<(), CgroupError> {
        self.groups
            .iter()
            .try_for_each(|group| write(&group.path.join("cgroup.procs"), &pid.to_string()))
    }

    /// Puts a process back beside the groups.
    pub(crate) fn leave(&self, pid: u32) -> Result<(), CgroupError> {
        self.groups
            .iter()
            .try_for_each(|group| write(&group.waiting_room().join("cgroup.procs"), &pid.to_string()))
    }

    /// Stops every process in the group, and returns when all have stopped.
    pub(crate) async fn freeze(&self) -> Result<(), CgroupError> {
        let Some(group) = &self.freezer else { return Ok(()) };
        write(&group.join("cgroup.freeze"), "1")?;
        let events = group.join("cgroup.events");
        let waited = tokio::task::spawn_blocking(move || wait_until_frozen(&events)).await;
        waited.unwrap_or(Err(CgroupError::NotFrozen))
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) -> Result<(), CgroupError> {
        self.freezer
            .as_ref()
            .map_or(Ok(()), |group| write(&group.join("cgroup.freeze"), "0"))
    }
}

/// The kernel marks `cgroup.events` as changed (POLLPRI) whenever one of its values does.
fn wait_until_frozen(path: &Path) -> Result<(), CgroupError> {
    let refused = |source| CgroupError::Refused {
        path: path.into(),
        source,
    };
    let deadline = Instant::now() + FREEZE_LIMIT;
    let mut file = File::open(path).map_err(refused)?;
    loop {
        let mut text = String::new();
        file.rewind()
            .and_then(|()| file.read_to_string(&mut text))
            .map_err(refused)?;
        if text.lines().any(|line| line == "frozen 1") {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLPRI)], limit) {
            Ok(0) => return Err(CgroupError::NotFrozen),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(refused(error.into())),
        }
    }
}

#[derive(Debug)]
struct Group {
    path: PathBuf,
}

impl Group {
    fn make(parent: &Path, name: &str) -> Result<Self, CgroupError> {
        let group = Self {
            path: parent.join(name),
        };
        for path in [&group.path, &group.waiting_room()] {
            create(path)?;
        }
        Ok(group)
    }

    /// The supervisor's own place: in version 2 a group whose children have controllers holds no process itself.
    fn waiting_room(&self) -> PathBuf {
        self.path.with_file_name("supervisors")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(%error, "a control group stays until local-lambda ends");
        }
    }
}

fn create(path: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(CgroupError::Refused {
            path: path.into(),
            source,
        }),
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), CgroupError> {
    fs::remove_dir(path).map_err(|source| CgroupError::Refused {
        path: path.into(),
        source,
    })
}

fn write(path: &Path, text: &str) -> Result<(), CgroupError> {
    fs::write(path, text).map_err(|source| CgroupError::Refused {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_buys_a_share_of_a_core() {
        assert_eq!(quota(1769), PERIOD);
        assert_eq!(quota(256), 2_894);
        assert!(quota(128) >= 1_000, "the kernel takes no quota under 1 ms");
    }
}
