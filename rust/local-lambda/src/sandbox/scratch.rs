//! Where the unpacked code lives: a file system in memory, in a mount namespace of local-lambda's own. Nothing of it is
//! ever on disk, and all of it goes with local-lambda, even if that is killed.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};

use super::mounts;
use crate::config::Function;
use crate::error::{Error, failed};
use crate::package;

/// Folders that every Linux has and that the function never sees.
const PLACES: [&str; 4] = ["/mnt", "/media", "/srv", "/opt"];

/// The unpacked code.
#[derive(Debug)]
pub(crate) struct Scratch {
    place: PathBuf,
    machine: PathBuf,
    layers: PathBuf,
    extensions: Vec<String>,
    bootstrap: Option<&'static str>,
}

impl Scratch {
    /// Unpacks a function and its layers. Must be called while the process has one thread: it moves that into a mount
    /// namespace of its own.
    pub(crate) fn lay_out(function: &Function) -> Result<Self, Error> {
        let handler = package::open(&function.handler_zip)?;
        let layers = function.layer_zips.iter().map(|path| package::open(path));
        let layers: Vec<_> = layers.collect::<Result<_, _>>()?;
        unshare(CloneFlags::CLONE_NEWNS).map_err(failed("no mount namespace"))?;
        mounts::make_private()?;
        let place = PLACES.iter().map(PathBuf::from).find(|place| place.is_dir());
        let place = place.ok_or_else(|| Error(format!("none of {PLACES:?} can be mounted over")))?;
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
            fs::create_dir(&folder)?;
        }
        package::unpack(handler, &scratch.task())?;
        for layer in layers {
            package::unpack(layer, &scratch.layers)?;
        }
        scratch.survey()
    }

    fn survey(mut self) -> Result<Self, Error> {
        let layers = self.layers.clone();
        self.extensions = package::extensions(&layers)?;
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
