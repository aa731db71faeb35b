//! One measurement at a time, where suites run side by side.

use std::{fs::File, io};

use crate::Error;

/// Names the file that is locked while something is measured. Without it nobody else measures.
const VARIABLE: &str = "MEASURING_LOCK";

/// While it lives, no other suite measures.
#[derive(Debug)]
pub struct Turn {
    _lock: Option<File>,
}

/// Waits until no other suite measures.
///
/// # Errors
/// [`Error::Runtime`] where the file cannot be made or locked.
pub async fn turn() -> Result<Turn, Error> {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return Ok(Turn { _lock: None });
    };
    let locking = tokio::task::spawn_blocking(move || {
        let file = File::options().create(true).append(true).open(path)?;
        file.lock()?;
        Ok::<_, io::Error>(file)
    });
    let lock = locking.await.map_err(io::Error::other).flatten();
    let lock = lock?;
    Ok(Turn { _lock: Some(lock) })
}
