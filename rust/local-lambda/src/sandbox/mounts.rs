//! The file system of an environment: the machine's own programs and libraries, or those of an image, the function and its
//! layers, all read-only; and `/tmp`, 512 MB, the only place to write to.

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, pivot_root};

use super::protocol::SandboxSpec;
use crate::error::{Error, failed};

/// What is taken over, where it exists: without it no dynamically linked program runs.
const OF_THE_MACHINE: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc"];

/// Lambda has no `/dev/shm` either.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

type Result<T> = std::result::Result<T, Error>;

fn at<E: Display>(path: &Path) -> impl FnOnce(E) -> Error {
    failed(format!("cannot set up {} in the environment", path.display()))
}

/// Furnishes the calling process's own mount namespace, and makes it the root. The pid namespace must be new too.
pub(crate) fn set_up(spec: &SandboxSpec) -> Result<()> {
    let root = spec.root.as_path();
    make_private()?;
    mount_tmpfs(root, "mode=0755,size=1m")?;
    for name in OF_THE_MACHINE {
        take_over(&spec.machine.join(name), &root.join(name))?;
    }
    mount_devices(&root.join("dev"))?;
    let process_flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let processes = make_folder(root.join("proc"))?;
    mount(Some("proc"), &processes, Some("proc"), process_flags, None::<&str>).map_err(at(&processes))?;
    bind_read_only(&spec.layers, &make_folder(root.join("opt"))?)?;
    bind_read_only(&spec.task, &make_folder(root.join("var/task"))?)?;
    make_folder(root.join("var/runtime"))?;
    mount_tmpfs(&make_folder(root.join("tmp"))?, "mode=1777,size=512m")?;
    enter(root)
}

/// Keeps what is mounted from here on out of the machine's own mount table.
pub(crate) fn make_private() -> Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).map_err(at(Path::new("/")))
}

/// Mounts an empty file system in memory.
pub(crate) fn mount_tmpfs(path: &Path, options: &str) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options)).map_err(at(path))
}

fn make_folder(path: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&path).map_err(at(&path))?;
    Ok(path)
}

/// `/bin` and `/lib` often are links into `/usr`: a link stays one.
fn take_over(source: &Path, target: &Path) -> Result<()> {
    let Ok(kind) = source.symlink_metadata() else {
        return Ok(());
    };
    if kind.is_symlink() {
        let leads_to = fs::read_link(source).map_err(at(source))?;
        return symlink(leads_to, target).map_err(at(target));
    }
    bind_read_only(source, &make_folder(target.into())?)
}

fn bind_read_only(source: &Path, target: &Path) -> Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), target, None::<&str>, flags, None::<&str>).map_err(at(target))?;
    for mounted in mounts_below(target)? {
        make_read_only(&mounted)?;
    }
    Ok(())
}

/// The mount points at a path and below it: a recursive bind brings along what is mounted on top of the source. No blanks
/// are expected in their names, which the kernel would write as digits.
fn mounts_below(path: &Path) -> Result<Vec<PathBuf>> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).map_err(at(table))?;
    let points = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from);
    Ok(points.filter(|point| point.starts_with(path)).collect())
}

/// A remount must repeat the flags that the mount has: inside a user namespace they are locked.
fn make_read_only(path: &Path) -> Result<()> {
    let held = statvfs(path).map_err(at(path))?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
    let pairs = [
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    for (found, kept) in pairs {
        flags.set(kept, held.contains(found));
    }
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>).map_err(at(path))
}

fn mount_devices(folder: &Path) -> Result<()> {
    mount_tmpfs(&make_folder(folder.into())?, "mode=0755,size=64k")?;
    for name in DEVICES {
        let source = Path::new("/dev").join(name);
        let target = folder.join(name);
        fs::File::create(&target).map_err(at(&target))?;
        mount(Some(&source), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(at(&target))?;
    }
    let links = [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")];
    for (name, number) in links {
        let link = folder.join(name);
        symlink(format!("/proc/self/fd{number}"), &link).map_err(at(&link))?;
    }
    make_read_only(folder)
}

/// Makes the new root the root, and lets go of the old one.
fn enter(root: &Path) -> Result<()> {
    let folder = fs::Permissions::from_mode(0o755);
    fs::set_permissions(root, folder).map_err(at(root))?;
    chdir(root).map_err(at(root))?;
    // The old root lands on top of the new one at the same place, and is unmounted from there (pivot_root(2)).
    pivot_root(".", ".").map_err(at(root))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(at(root))?;
    chdir("/").map_err(at(root))?;
    make_read_only(Path::new("/"))
}
