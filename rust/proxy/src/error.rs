//! Everything that keeps the proxy from passing on a target's answer, and what the caller gets instead.

use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

/// Why there is no answer from the target. The message is for the caller, and never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProxyError {
    /// The caller must mend its request.
    #[error("{0}")]
    InvalidRequest(String),
    /// The target is not one that this proxy may reach.
    #[error("{0}")]
    TargetNotAllowed(String),
    /// The function was invoked by a qualifier that is no profile of this proxy.
    #[error("{0}")]
    UnknownProfile(String),
    /// The target did not take the connection, or broke it before its answer was whole.
    #[error("{0}")]
    TargetUnreachable(String),
    /// The function is not in the tailnet. Trying again later may help.
    #[error("{message}")]
    TailnetUnavailable {
        /// A stable code, what happened, and what fixes it.
        message: String,
        /// When another try may succeed, if that is known.
        retry_after: Option<Duration>,
    },
    /// The target took too long.
    #[error("{0}")]
    TargetTimeout(String),
    /// A bug of the proxy's.
    #[error("{0}")]
    Internal(String),
}

impl ProxyError {
    /// The status, and the value of `ts-error-name`.
    pub fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "InvalidRequest"),
            Self::TargetNotAllowed(_) => (StatusCode::FORBIDDEN, "TargetNotAllowed"),
            Self::UnknownProfile(_) => (StatusCode::FORBIDDEN, "UnknownProfile"),
            Self::TargetUnreachable(_) => (StatusCode::BAD_GATEWAY, "TargetUnreachable"),
            Self::TailnetUnavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "TailnetUnavailable"),
            Self::TargetTimeout(_) => (StatusCode::GATEWAY_TIMEOUT, "TargetTimeout"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        }
    }
    /// When another try may succeed, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TailnetUnavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
