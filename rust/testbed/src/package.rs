//! Zips of functions and layers.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use zip::{CompressionMethod, ZipWriter, result::ZipResult, write::SimpleFileOptions};

/// Writes a zip of executables: the name of each, and what is in it.
pub fn write_zip(path: &Path, files: impl IntoIterator<Item = io::Result<(String, Vec<u8>)>>) -> ZipResult<()> {
    let mut zip = ZipWriter::new(File::create(path)?);
    let stored = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .unix_permissions(0o755);
    for file in files {
        let (name, content) = file?;
        zip.start_file(name, stored)?;
        zip.write_all(&content)?;
    }
    zip.finish().map(drop)
}
