//! Unpacks the zips that ship. The zip crate keeps exec bits and links, and writes nothing outside of the target folder.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zip::ZipArchive;

use crate::error::{Error, failed};

/// A zip, opened before anything is mounted over its path.
pub(crate) type Package = ZipArchive<File>;

/// Opens a zip and reads its directory.
pub(crate) fn open(path: &Path) -> Result<Package, Error> {
    let file = File::open(path).map_err(failed(path.display()))?;
    ZipArchive::new(file).map_err(failed(path.display()))
}

/// Unpacks a zip into an existing folder. Its files replace those of earlier zips.
pub(crate) fn unpack(mut package: Package, target: &Path) -> Result<(), Error> {
    package.extract(target).map_err(failed("a zip cannot be unpacked"))?;
    // The crate lets nobody else into the folders that it makes; the function runs as another user.
    Ok(open_folders(target)?)
}

fn open_folders(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_folders(&entry.path())?;
        }
    }
    Ok(())
}

/// The executables in `/opt/extensions`, by name: each is started as an external extension. A file that cannot be run is
/// left to fail at its start, as on the service.
pub(crate) fn extensions(layers: &Path) -> io::Result<Vec<String>> {
    let folder = layers.join("extensions");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
