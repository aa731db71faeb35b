//! Unpacks the zips that ship. The zip crate keeps exec bits and links, and writes nothing outside of the target folder.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

/// Why a zip cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The file is missing or unreadable.
    #[error("cannot open the zip {zip}: {source}; build it, or correct its path in the configuration")]
    Unreadable {
        /// The zip.
        zip: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It is not a zip, it is damaged, or an entry cannot be written.
    #[error("cannot unpack the zip {zip}: {source}")]
    NotUnpacked {
        /// The zip.
        zip: PathBuf,
        /// The zip crate's error.
        source: ZipError,
    },
}

/// A zip, opened before anything is mounted over its path.
#[derive(Debug)]
pub struct Package {
    path: PathBuf,
    archive: ZipArchive<File>,
}

impl Package {
    /// Opens a zip and reads its directory.
    ///
    /// # Errors
    /// [`PackageError`].
    pub fn open(path: &Path) -> Result<Self, PackageError> {
        let file = File::open(path).map_err(|source| PackageError::Unreadable {
            zip: path.into(),
            source,
        })?;
        let archive = ZipArchive::new(file).map_err(|source| PackageError::NotUnpacked {
            zip: path.into(),
            source,
        })?;
        Ok(Self {
            path: path.into(),
            archive,
        })
    }

    /// Unpacks it into an existing folder. Its files replace those of earlier zips.
    ///
    /// # Errors
    /// [`PackageError::NotUnpacked`].
    pub fn unpack(mut self, target: &Path) -> Result<(), PackageError> {
        let cleared = self.clear(target).map_err(ZipError::Io);
        let unpacked = cleared.and_then(|()| self.archive.extract(target));
        // The crate lets nobody else into the folders that it makes; the function runs as another user.
        let opened = unpacked.and_then(|()| open_folders(target).map_err(ZipError::Io));
        opened.map_err(|source| PackageError::NotUnpacked { zip: self.path, source })
    }

    /// Removes the files that it is about to replace: the crate writes into them, which a read-only one lets root do alone.
    fn clear(&mut self, target: &Path) -> io::Result<()> {
        for index in 0..self.archive.len() {
            let entry = self.archive.by_index_raw(index)?;
            let file = entry.enclosed_name().filter(|_| entry.is_file());
            match file.map_or(Ok(()), |name| fs::remove_file(target.join(name))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
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
///
/// # Errors
/// What the system says when the folder cannot be read.
pub fn extensions(layers: &Path) -> io::Result<Vec<String>> {
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
