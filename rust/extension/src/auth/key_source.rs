//! Where auth keys come from, as the supervisor sees it.

use std::sync::Arc;

use tailnet::diagnosis::KeyKind;

use crate::{auth::secret::Secret, error::JoinError};

/// Tells what kind of key a source has, as far as it is known.
pub type KeyKindSource = Arc<dyn Fn() -> Option<KeyKind> + Send + Sync>;

/// A source of auth keys.
pub trait KeySource: Send + Sync + 'static {
    /// A key for one login.
    fn login_key(&self) -> impl Future<Output = Result<Secret, JoinError>> + Send;

    /// Whether another login would have another key than the last one: what is stored is read again.
    fn changed(&self) -> impl Future<Output = Result<bool, JoinError>> + Send;

    /// What kind of key it has; `None` while that is not known.
    fn kind(&self) -> Option<KeyKind> {
        None
    }
}
