//! Where control groups are, and how local-lambdas that share a place there keep out of each other's way.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How the names of our groups start.
const OURS: &str = "local-lambda-";

/// How often a group is made again that somebody took for abandoned.
const CLAIMS: usize = 5;

/// Makes a group that nobody else takes for abandoned. Between its making and its locking somebody may have: then it is
/// made again.
pub(super) fn claim(place: &Path) -> io::Result<(PathBuf, File)> {
    let mut attempt = 0;
    loop {
        // No pid in the name: pid namespaces that share this hierarchy each have a process of that number.
        let path = place.join(format!("{OURS}{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&path)?;
        let locked = File::open(&path).and_then(|folder| folder.lock().map(|()| folder));
        attempt += 1;
        match locked {
            Ok(lock) if path.exists() => return Ok((path, lock)),
            Err(error) if attempt >= CLAIMS => return Err(error),
            Ok(_) if attempt >= CLAIMS => return Err(io::ErrorKind::ResourceBusy.into()),
            _ => {}
        }
    }
}

/// Removes the empty groups of a local-lambda that was killed together with its keeper.
pub(super) fn sweep(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(OURS))
    {
        let Ok(folder) = File::open(entry.path()) else { continue };
        if folder.try_lock().is_ok()
            && let Err(error) = super::keeper::remove(&entry.path(), Instant::now())
        {
            tracing::debug!(%error, "an abandoned control group stays");
        }
    }
}

/// Where the hierarchy with a controller (version 1), or the unified one (no controller), is mounted, and our place in it.
pub(super) fn find(mounts: &str, membership: &str, controller: &str) -> Option<PathBuf> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
        cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
    const MEMBERSHIP: &str = "4:cpu,cpuacct:/user/me\n0::/session\n";

    #[test]
    fn the_own_place_in_a_hierarchy_is_found() {
        let found = |controller| find(MOUNTS, MEMBERSHIP, controller);
        assert_eq!(found(""), Some("/sys/fs/cgroup/unified/session".into()));
        assert_eq!(found("cpu"), Some("/sys/fs/cgroup/cpu,cpuacct/user/me".into()));
        assert_eq!(found("freezer"), None);
    }
}
