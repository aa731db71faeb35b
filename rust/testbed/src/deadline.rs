//! Every wait has an end, and a reason to tell when it comes.

use std::time::Duration;

/// Something took longer than it may.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what} took longer than {limit:?}")]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub limit: Duration,
}

/// Waits for `future`, for `limit` at most.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> Result<T, TimedOut> {
    tokio::time::timeout(limit, future).await.map_err(|_| TimedOut {
        what: what.to_owned(),
        limit,
    })
}
