//! Where auth keys come from, as the supervisor sees it.

use crate::{auth::secret::Secret, error::JoinError};

/// A source of auth keys.
pub trait KeySource: Send + Sync + 'static {
    /// A key for one login.
    fn login_key(&self) -> impl Future<Output = Result<Secret, JoinError>> + Send;

    /// Reads the secret again. Returns whether it has changed since the last time.
    fn changed(&self) -> impl Future<Output = Result<bool, JoinError>> + Send;
}
