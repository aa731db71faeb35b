//! Why local-lambda, or one of its environments, cannot go on: for the log, as nobody tells one reason from another.

use std::fmt::Display;

/// A reason, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub(crate) String);

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Puts what was to be done before what the system said.
pub(crate) fn failed<E: Display>(what: impl Display) -> impl FnOnce(E) -> Error {
    move |error| Error(format!("{what}: {error}"))
}
