//! Where the unpacked code lives: a file system in memory, in a mount namespace of local-lambda's own. Nothing of it is
//! ever on disk, and all of it goes with local-lambda, even if that is killed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use super::mounts::{self, MountError};
use crate::config::Function;
use crate::package::{self, Package, PackageError};

/// Folders that every Linux has and that the function never sees.
const PLACES: [&str; 4] = ["/mnt", "/media", "/srv", "/opt"];

/// Why the code cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// A zip.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// No rights to mount.
    #[error("no mount namespace can be made: {0}; start local-lambda as root, or with `unshare -Urnm`")]
    NoNamespace(Errno),
    /// A mount failed.
    #[error("{0}")]
    Mount(String),
    /// None of the possible places is there.
    #[error("none of /mnt, /media, /srv and /opt can be mounted over: make one of them, empty")]
    NoPlace,
    /// A folder in it.
    #[error("cannot lay out the code in {path}: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<MountError> for ScratchError {
    fn from(error: MountError) -> Self {
        Self::Mount(error.to_string())
    }
}

/// The unpacked code.
#[derive(Debug)]
pub struct Scratch {
    place: PathBuf,
    machine: PathBuf,
    layers: PathBuf,
    extensions: Vec<String>,
    bootstrap: Option<&'static str>,
}

impl Scratch {
    /// Unpacks a function and its layers. Must be called while the process has one thread: it moves that into a mount
    /// namespace of its own.
    ///
    /// # Errors
    /// [`ScratchError`].
    pub fn lay_out(function: &Function) -> Result<Self, ScratchError> {
        let handler = Package::open(&function.handler_zip)?;
        let layers: Vec<_> = function
            .layer_zips
            .iter()
            .map(|path| Package::open(path))
            .collect::<Result<_, _>>()?;
        unshare(CloneFlags::CLONE_NEWNS).map_err(ScratchError::NoNamespace)?;
        mounts::make_private()?;
        let place = PLACES.iter().map(PathBuf::from).find(|place| place.is_dir());
        let place = place.ok_or(ScratchError::NoPlace)?;
        mounts::mount_tmpfs(&place, "mode=0700")?;
        let unpacked = place.join("layers");
        let scratch = Self {
            extensions: Vec::new(),
            bootstrap: None,
            layers: image_opt(function).unwrap_or_else(|| unpacked.clone()),
            place,
            machine: function.root_filesystem.clone(),
        };
        for folder in [scratch.root(), scratch.task(), unpacked] {
            fs::create_dir(&folder).map_err(|source| ScratchError::Folder { path: folder, source })?;
        }
        handler.unpack(&scratch.task())?;
        for layer in layers {
            layer.unpack(&scratch.layers)?;
        }
        scratch.survey()
    }

    fn survey(mut self) -> Result<Self, ScratchError> {
        let layers = self.layers.clone();
        self.extensions = package::extensions(&layers).map_err(|source| ScratchError::Folder {
            path: layers.join("extensions"),
            source,
        })?;
        // The order in which the provided runtimes look (AWS: "Building a custom runtime for AWS Lambda").
        let places = [(self.task(), "/var/task/bootstrap"), (layers, "/opt/bootstrap")];
        let found = places.iter().find(|(folder, _)| folder.join("bootstrap").exists());
        self.bootstrap = found.map(|(_, inside)| *inside);
        Ok(self)
    }

    /// An empty folder that each environment mounts its root on.
    pub(crate) fn root(&self) -> PathBuf {
        self.place.join("root")
    }

    /// Where its environments' programs and libraries are taken from.
    pub(crate) fn machine(&self) -> PathBuf {
        self.machine.clone()
    }

    /// `/var/task`.
    pub(crate) fn task(&self) -> PathBuf {
        self.place.join("task")
    }

    /// `/opt`.
    pub(crate) fn layers(&self) -> PathBuf {
        self.layers.clone()
    }

    /// The external extensions' names.
    pub(crate) fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// The runtime's executable, seen from inside.
    pub(crate) fn bootstrap(&self) -> Option<&'static str> {
        self.bootstrap
    }
}

/// A function from an image has no layers: its `/opt` is the image's.
fn image_opt(function: &Function) -> Option<PathBuf> {
    let opt = function.root_filesystem.join("opt");
    let is_image = function.layer_zips.is_empty() && function.root_filesystem != Path::new("/");
    (is_image && opt.is_dir()).then_some(opt)
}
