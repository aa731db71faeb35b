//! The zips of the other architecture, made to run on this machine: the binaries in them as they ship, each started by
//! qemu's user mode emulator through a script in its place.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use zip::{ZipArchive, result::ZipResult};

use crate::{
    Error,
    binaries::{Binaries, architecture},
    error::failed,
    package::write_zip,
};

/// Where the layer brings the emulator, below /opt.
const EMULATOR: &str = "emulator/qemu";
/// Where the binaries lie, away from the folders in which Lambda looks for what to start.
const MOVED: &str = "emulated";

/// The architecture that this machine does not have.
fn other() -> &'static str {
    if architecture() == "arm64" { "x86_64" } else { "arm64" }
}

/// The same programs, but with the function and the layer of the other architecture, rewritten into `run_dir`.
pub fn emulated(binaries: &Binaries, run_dir: &Path) -> Result<Binaries, Error> {
    let root = &binaries.root;
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

fn there(path: &Path, task: &str) -> Result<(), Error> {
    let missing = || Error::Other(format!("{} is missing: npx projen {task}", path.display()));
    path.exists().then_some(()).ok_or_else(missing)
}

/// Copies a zip that will be unpacked at `place`: each executable aside, and a script where it was.
fn rewrite(source: &Path, place: &str, target: &Path, emulator: Option<&Path>) -> Result<(), Error> {
    there(source, "layers:build:all")?;
    let copy = || -> ZipResult<()> {
        let mut shipped = ZipArchive::new(File::open(source)?)?;
        let mut files = Vec::new();
        for index in 0..shipped.len() {
            let mut entry = shipped.by_index(index)?;
            let name = entry.name()?.into_owned();
            let mut binary = Vec::new();
            entry.read_to_end(&mut binary)?;
            let moved = format!("{MOVED}/{name}");
            let script = format!("#!/bin/sh\nexec /opt/{EMULATOR} {place}/{moved} \"$@\"\n");
            files.extend([Ok((moved, binary)), Ok((name, script.into_bytes()))]);
        }
        files.extend(emulator.map(|emulator| Ok((EMULATOR.to_owned(), fs::read(emulator)?))));
        write_zip(target, files)
    };
    copy().map_err(failed(target.display()))
}
