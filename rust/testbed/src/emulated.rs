//! The zips of the other architecture, made to run on this machine: the binaries in them as they ship, each started by
//! qemu's user mode emulator through a script in its place.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::binaries::{Binaries, architecture};

/// Where the layer brings the emulator, below /opt.
const EMULATOR: &str = "emulator/qemu";
/// Where the binaries lie, away from the folders in which Lambda looks for what to start.
const MOVED: &str = "emulated";

/// Why the other architecture cannot be emulated.
#[derive(Debug, thiserror::Error)]
pub enum EmulationError {
    /// The emulator or a zip is not there.
    #[error("{} is missing: npx projen {task}", path.display())]
    Missing {
        /// What.
        path: PathBuf,
        /// What brings it.
        task: &'static str,
    },
    /// A zip cannot be read or written.
    #[error("{}: {source}", path.display())]
    Zip {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: zip::result::ZipError,
    },
}

/// The architecture that this machine does not have.
fn other() -> &'static str {
    if architecture() == "arm64" { "x86_64" } else { "arm64" }
}

/// The same programs, but with the function and the layer of the other architecture, rewritten into `run_dir`.
///
/// # Errors
/// [`EmulationError`].
pub fn emulated(binaries: &Binaries, root: &Path, run_dir: &Path) -> Result<Binaries, EmulationError> {
    let assets = root.join("assets").join(other());
    let emulator = root.join(".emulator/qemu");
    there(&emulator, "emulator:fetch")?;
    let proxy_zip = run_dir.join("emulated-proxy.zip");
    rewrite(&assets.join("proxy.zip"), "/var/task", &proxy_zip, None)?;
    let extension_zip = run_dir.join("emulated-extension.zip");
    rewrite(&assets.join("extension.zip"), "/opt", &extension_zip, Some(&emulator))?;
    Ok(Binaries {
        proxy_zip,
        extension_zip,
        ..binaries.clone()
    })
}

fn there(path: &Path, task: &'static str) -> Result<(), EmulationError> {
    let missing = || EmulationError::Missing {
        path: path.to_owned(),
        task,
    };
    path.exists().then_some(()).ok_or_else(missing)
}

/// Copies a zip that will be unpacked at `place`: each executable aside, and a script where it was.
fn rewrite(source: &Path, place: &str, target: &Path, emulator: Option<&Path>) -> Result<(), EmulationError> {
    there(source, "layers:build:all")?;
    let copy = || {
        let mut shipped = ZipArchive::new(File::open(source)?)?;
        let mut zip = ZipWriter::new(File::create(target)?);
        for index in 0..shipped.len() {
            let mut entry = shipped.by_index(index)?;
            let name = entry.name()?.into_owned();
            let mut binary = Vec::new();
            entry.read_to_end(&mut binary)?;
            let moved = format!("{MOVED}/{name}");
            add(&mut zip, &moved, &binary)?;
            let script = format!("#!/bin/sh\nexec /opt/{EMULATOR} {place}/{moved} \"$@\"\n");
            add(&mut zip, &name, script.as_bytes())?;
        }
        if let Some(emulator) = emulator {
            add(&mut zip, EMULATOR, &fs::read(emulator)?)?;
        }
        zip.finish().map(drop)
    };
    copy().map_err(|source| EmulationError::Zip {
        path: target.to_owned(),
        source,
    })
}

fn add(zip: &mut ZipWriter<File>, name: &str, content: &[u8]) -> io::Result<()> {
    let stored = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .unix_permissions(0o755);
    zip.start_file(name, stored)?;
    zip.write_all(content)
}
