//! Why the LocalAPI gave no usable response.

use std::{io, time::Duration};

use http::StatusCode;
use thiserror::Error;

/// Why the LocalAPI gave no usable response.
#[derive(Debug, Error)]
pub enum LocalApiError {
    /// tailscaled is not there, or went away.
    #[error("tailscaled's LocalAPI cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    /// The connection broke.
    #[error("the connection to tailscaled's LocalAPI broke: {0}")]
    Broken(#[from] hyper::Error),
    /// tailscaled accepts connections but does not respond.
    #[error("tailscaled's LocalAPI did not respond within {} s", limit.as_secs_f32())]
    Silent {
        /// How long was waited.
        limit: Duration,
    },
    /// tailscaled refused.
    #[error("tailscaled's LocalAPI answered {path} with {status}: {body}")]
    Refused {
        /// The request's path.
        path: String,
        /// The status.
        status: StatusCode,
        /// The response's text.
        body: String,
    },
    /// The response is not of the form that this version of tailscaled gives.
    #[error("tailscaled's LocalAPI answered {path} in an unexpected form: {detail}")]
    Malformed {
        /// The request's path.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
}
