//! Where auth keys come from, as the supervisor sees it.

use crate::{auth::secret::Secret, error::JoinError};

/// A source of auth keys.
pub trait KeySource: Send + Sync + 'static {
    /// A key for one login.
    fn login_key(&self) -> impl Future<Output = Result<Secret, JoinError>> + Send;

    /// Whether another login would have another key than the last one: what is stored is read again.
    fn changed(&self) -> impl Future<Output = Result<bool, JoinError>> + Send;
}
