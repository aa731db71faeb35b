//! What can go wrong while the testbed starts, or in it.

use std::fmt::Display;

use crate::deadline::TimedOut;

/// Why the testbed is not there, or does not answer. Each message names the part that failed, and how.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant is the error that it holds")]
pub enum Error {
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    #[error("no answer: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the request is malformed: {0}")]
    Malformed(#[from] http::Error),
    #[error("the operating system does not allow what every program needs: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("{0}")]
    Other(String),
}

/// Says what failed, before why.
pub(crate) fn failed<E: Display>(what: impl Display) -> impl FnOnce(E) -> Error {
    move |error| Error::Other(format!("{what}: {error}"))
}
