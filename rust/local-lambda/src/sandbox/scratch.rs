//! Where the unpacked code lives: a file system in memory, in a mount namespace of local-lambda's own. Nothing of it is
//! ever on disk, and all of it goes with local-lambda, even if that is killed.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};

use super::mounts;
use crate::config::Function;
use crate::error::{Error, failed};
use crate::package;

/// A folder that every Linux has and that the function never sees.
const PLACE: &str = "/mnt";

/// The unpacked code, and what each environment is set up with.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// An empty folder that each environment mounts its root on.
    pub(crate) root: PathBuf,
    /// Where its programs and libraries are taken from.
    pub(crate) machine: PathBuf,
    /// `/var/task`.
    pub(crate) task: PathBuf,
    /// `/opt`.
    pub(crate) layers: PathBuf,
    /// The external extensions' names.
    pub(crate) extensions: Vec<String>,
}

impl Scratch {
    /// Unpacks a function and its layers. Must be called while the process has one thread: it moves that into a mount
    /// namespace of its own.
    pub(crate) fn lay_out(function: &Function) -> Result<Self, Error> {
        let handler = package::open(&function.handler_zip)?;
        let zips = function.layer_zips.iter().map(|path| package::open(path));
        let zips: Vec<_> = zips.collect::<Result<_, _>>()?;
        unshare(CloneFlags::CLONE_NEWNS).map_err(failed("no mount namespace"))?;
        mounts::make_private()?;
        let place = Path::new(PLACE);
        mounts::mount_tmpfs(place, "mode=0700")?;
        let [root, task, unpacked] = ["root", "task", "layers"].map(|name| place.join(name));
        for folder in [&root, &task, &unpacked] {
            fs::create_dir(folder)?;
        }
        package::unpack(handler, &task)?;
        for zip in zips {
            package::unpack(zip, &unpacked)?;
        }
        let layers = image_opt(function).unwrap_or(unpacked);
        Ok(Self {
            root,
            machine: function.root_filesystem.clone(),
            task,
            extensions: package::extensions(&layers)?,
            layers,
        })
    }
}

/// A function from an image has no layers: its `/opt` is the image's.
fn image_opt(function: &Function) -> Option<PathBuf> {
    let opt = function.root_filesystem.join("opt");
    let is_image = function.layer_zips.is_empty() && function.root_filesystem != Path::new("/");
    (is_image && opt.is_dir()).then_some(opt)
}
