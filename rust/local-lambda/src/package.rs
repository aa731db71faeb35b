//! Unpacks the shipped zips, untouched: exec bits and links kept, nothing written outside of the target folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;
use zip::read::ZipFile;

/// The service's quota for the function and its layers, unzipped: 250 MB.
const UNPACKED_BYTES: u64 = 262_144_000;

/// Why a zip cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The file is missing or unreadable.
    #[error("cannot open the zip {zip}: {source}; build it, or correct its path in the configuration")]
    Unreadable {
        /// The zip.
        zip: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no zip, or a damaged one.
    #[error("{zip} is not a usable zip: {source}")]
    Damaged {
        /// The zip.
        zip: PathBuf,
        /// What is wrong with it.
        source: zip::result::ZipError,
    },
    /// An entry would be written outside of the target folder.
    #[error("{zip}: entry {entry:?} leads out of the folder that it is unpacked to")]
    Escapes {
        /// The zip.
        zip: PathBuf,
        /// The entry.
        entry: String,
    },
    /// Together the zips are larger than the service takes.
    #[error("{zip}: function and layers are over {UNPACKED_BYTES} bytes unzipped, which the service refuses")]
    TooLarge {
        /// The zip that went over the limit.
        zip: PathBuf,
    },
    /// An entry cannot be written.
    #[error("{zip}: cannot unpack {entry:?}: {source}")]
    Unwritable {
        /// The zip.
        zip: PathBuf,
        /// The entry.
        entry: String,
        /// What the system said.
        source: io::Error,
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
    /// [`PackageError::Unreadable`], [`PackageError::Damaged`].
    pub fn open(path: &Path) -> Result<Self, PackageError> {
        let unreadable = |source| PackageError::Unreadable {
            zip: path.into(),
            source,
        };
        let file = File::open(path).map_err(unreadable)?;
        let damaged = |source| PackageError::Damaged {
            zip: path.into(),
            source,
        };
        Ok(Self {
            path: path.into(),
            archive: ZipArchive::new(file).map_err(damaged)?,
        })
    }

    /// Unpacks it into an existing folder, over what is there. `room` is what is left of the service's quota.
    ///
    /// # Errors
    /// All of [`PackageError`] but `Unreadable`.
    pub fn unpack(mut self, target: &Path, room: &mut Room) -> Result<(), PackageError> {
        for index in 0..self.archive.len() {
            let path = &self.path;
            let damaged = |source| PackageError::Damaged {
                zip: path.clone(),
                source,
            };
            let mut entry = self.archive.by_index(index).map_err(damaged)?;
            let name = entry.name().map_err(damaged)?.into_owned();
            let place = entry.enclosed_name().filter(|place| leads_inside(target, place));
            let Some(place) = place else {
                return Err(PackageError::Escapes {
                    zip: self.path,
                    entry: name,
                });
            };
            if !room.take(entry.size()) {
                return Err(PackageError::TooLarge { zip: self.path });
            }
            let unwritable = |source| PackageError::Unwritable {
                zip: self.path.clone(),
                entry: name,
                source,
            };
            write_entry(&mut entry, &target.join(place)).map_err(unwritable)?;
        }
        Ok(())
    }
}

/// What is left of the quota for unzipped code.
#[derive(Debug)]
pub struct Room(u64);

impl Default for Room {
    fn default() -> Self {
        Self(UNPACKED_BYTES)
    }
}

impl Room {
    fn take(&mut self, bytes: u64) -> bool {
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// No folder on the way may be a link: an earlier entry could have made one that points elsewhere.
fn leads_inside(target: &Path, place: &Path) -> bool {
    let mut folder = target.to_owned();
    let parts = place.parent().into_iter().flat_map(Path::components);
    for part in parts {
        let Component::Normal(part) = part else { return false };
        folder.push(part);
        if folder.is_symlink() {
            return false;
        }
    }
    true
}

fn write_entry(entry: &mut ZipFile<'_, File>, path: &Path) -> io::Result<()> {
    if entry.is_dir() {
        return make_folder(path);
    }
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    if path.symlink_metadata().is_ok() {
        fs::remove_file(path)?;
    }
    if entry.is_symlink() {
        let mut target = String::new();
        entry.take(4096).read_to_string(&mut target)?;
        return symlink(target, path);
    }
    // Kept to the bit: a file that others may not read or run fails here as it does on the service.
    let mode = entry.unix_mode().unwrap_or(0o644) & 0o777;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The size in the directory is a claim: no more than it is written.
    let size = entry.size();
    io::copy(&mut entry.take(size), &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("package-test-{}", uuid::Uuid::new_v4()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn zip(&self, fill: impl FnOnce(&mut ZipWriter<File>)) -> Package {
            let path = self.0.join("a.zip");
            let mut writer = ZipWriter::new(File::create(&path).unwrap());
            fill(&mut writer);
            writer.finish().unwrap();
            Package::open(&path).unwrap()
        }

        fn target(&self) -> PathBuf {
            let target = self.0.join("target");
            fs::create_dir_all(&target).unwrap();
            target
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn file(writer: &mut ZipWriter<File>, name: &str, mode: u32) {
        writer
            .start_file(name, SimpleFileOptions::default().unix_permissions(mode))
            .unwrap();
        writer.write_all(name.as_bytes()).unwrap();
    }

    #[test]
    fn exec_bits_stay_and_extensions_are_found() {
        let folder = Folder::new();
        let package = folder.zip(|zip| {
            file(zip, "extensions/one", 0o755);
            file(zip, "bin/tool", 0o640);
        });
        package.unpack(&folder.target(), &mut Room::default()).unwrap();
        let mode = |name: &str| folder.target().join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("extensions/one"), mode("bin/tool")), (0o755, 0o640));
        assert_eq!(extensions(&folder.target()).unwrap(), ["one"]);
    }

    #[test]
    fn a_later_layer_replaces_a_file_of_an_earlier_one() {
        let folder = Folder::new();
        for mode in [0o444, 0o755] {
            folder
                .zip(|zip| file(zip, "bin/tool", mode))
                .unpack(&folder.target(), &mut Room::default())
                .unwrap();
        }
        assert_eq!(
            folder
                .target()
                .join("bin/tool")
                .metadata()
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o755
        );
    }

    #[test]
    fn an_entry_that_climbs_out_is_refused() {
        for name in ["../evil", "a/../../evil", "/../evil"] {
            let folder = Folder::new();
            let error = folder
                .zip(|zip| file(zip, name, 0o644))
                .unpack(&folder.target(), &mut Room::default());
            assert!(matches!(error, Err(PackageError::Escapes { .. })), "{name}: {error:?}");
            assert!(!folder.0.join("evil").exists());
        }
    }

    #[test]
    fn an_entry_behind_a_link_that_points_out_is_refused() {
        let folder = Folder::new();
        let package = folder.zip(|zip| {
            zip.add_symlink("door", "..", SimpleFileOptions::default()).unwrap();
            file(zip, "door/evil", 0o644);
        });
        let error = package.unpack(&folder.target(), &mut Room::default());
        assert!(matches!(error, Err(PackageError::Escapes { .. })), "{error:?}");
        assert!(!folder.0.join("evil").exists());
    }

    #[test]
    fn more_than_the_services_quota_is_refused() {
        let folder = Folder::new();
        let error = folder
            .zip(|zip| file(zip, "four", 0o644))
            .unpack(&folder.target(), &mut Room(3));
        assert!(matches!(error, Err(PackageError::TooLarge { .. })), "{error:?}");
    }

    #[test]
    fn a_missing_zip_is_named() {
        let error = Package::open(Path::new("/nowhere/proxy.zip")).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot open the zip /nowhere/proxy.zip: No such file"),
            "{error}"
        );
    }
}
