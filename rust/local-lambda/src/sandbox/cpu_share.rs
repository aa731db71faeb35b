//! The share of a core that a function's memory buys: a control group with a quota for each environment. Each error begins
//! with the same words, by which tests recognise a machine that has none to give.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, failed};

/// What one vCPU costs in memory: at 1,769 MB a function has the equivalent of one
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>).
const MEMORY_OF_A_CPU: u32 = 1769;

/// The scheduling period in microseconds: 20 ms, as measured on Lambda by others.
const PERIOD: u32 = 20_000;

/// How long a killed process may take to leave its group.
const REMOVAL_LIMIT: Duration = Duration::from_secs(1);

/// The group of one environment, removed when this is dropped. A local-lambda that is killed leaves it behind, empty.
#[derive(Debug)]
pub(crate) struct CpuShare(PathBuf);

impl CpuShare {
    /// Makes a group under the one that local-lambda is in.
    pub(crate) fn make(memory_mb: u32) -> Result<Self, Error> {
        let mounts = read(Path::new("/proc/self/mounts"))?;
        let membership = read(Path::new("/proc/self/cgroup"))?;
        let share = PERIOD * memory_mb / MEMORY_OF_A_CPU;
        if let Some(parent) = find(&mounts, &membership, "cpu") {
            let group = Self::under(&parent)?;
            write(&group.0.join("cpu.cfs_period_us"), &PERIOD.to_string())?;
            write(&group.0.join("cpu.cfs_quota_us"), &share.to_string())?;
            return Ok(group);
        }
        let parent = find(&mounts, &membership, "")
            .ok_or_else(|| Error("`cpuQuota` is true, but no hierarchy of control groups is mounted".into()))?;
        // Refused where a group other than the root holds processes, as local-lambda's own does.
        write(&parent.join("cgroup.subtree_control"), "+cpu")?;
        let group = Self::under(&parent)?;
        write(&group.0.join("cpu.max"), &format!("{share} {PERIOD}"))?;
        Ok(group)
    }

    fn under(parent: &Path) -> Result<Self, Error> {
        // No pid in the name: pid namespaces that share this hierarchy each have a process of that number.
        let path = parent.join(format!("local-lambda-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&path).map_err(failed(format!(
            "`cpuQuota` is true, but nothing can be made in {}",
            parent.display()
        )))?;
        Ok(Self(path))
    }

    /// Puts a process in, and with it all that it starts from then on.
    pub(crate) fn enter(&self, pid: u32) -> Result<(), Error> {
        write(&self.0.join("cgroup.procs"), &pid.to_string())
    }
}

impl Drop for CpuShare {
    /// The last process may still be dying, and version 1 tells nobody when a group gets empty.
    fn drop(&mut self) {
        let deadline = Instant::now() + REMOVAL_LIMIT;
        while let Err(error) = fs::remove_dir(&self.0) {
            if error.kind() != io::ErrorKind::ResourceBusy || Instant::now() > deadline {
                tracing::warn!(%error, group = %self.0.display(), "a control group stays behind");
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(failed(format!(
        "`cpuQuota` is true, but {} cannot be read",
        path.display()
    )))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(failed(format!(
        "`cpuQuota` is true, but {} refuses {text}",
        path.display()
    )))
}

/// Where the hierarchy with a controller (version 1), or the unified one (no controller), is mounted, and our place in it.
fn find(mounts: &str, membership: &str, controller: &str) -> Option<PathBuf> {
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let wanted = match controller {
            "" => kind == "cgroup2",
            name => kind == "cgroup" && options.split(',').any(|option| option == name),
        };
        wanted.then_some(point)
    })?;
    let place = membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controllers.split(',').any(|name| name == controller).then_some(path)
    })?;
    Some(Path::new(mount).join(place.trim_start_matches('/')))
}
