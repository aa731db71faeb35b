//! What Secrets Manager brings.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use extension::{
    auth::{key_source::KeySource, secret::Secret},
    error::{JoinError, SecretError},
};
use tokio::sync::Notify;

use crate::fake_tailscaled::KEY;

/// The same at each time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FakeKeys {
    /// A key.
    Good,
    /// Nothing, ever.
    Hung,
    /// An error.
    Missing,
}

impl KeySource for FakeKeys {
    async fn login_key(&self) -> Result<Secret, JoinError> {
        match self {
            Self::Good => Ok(Secret::new(KEY)),
            Self::Hung => std::future::pending().await,
            Self::Missing => Err(JoinError::NoAuthKey {
                reason: "the secret has no auth key".into(),
                kind: SecretError::Temporary,
            }),
        }
    }

    async fn changed(&self) -> Result<bool, JoinError> {
        Ok(false)
    }
}

/// A secret that a test changes. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChangingSecret {
    changed: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
}

impl ChangingSecret {
    /// Puts another key into the secret.
    pub(crate) fn change(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// How often it was looked at for a change.
    pub(crate) fn rereads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

impl KeySource for ChangingSecret {
    async fn login_key(&self) -> Result<Secret, JoinError> {
        Ok(Secret::new(KEY))
    }

    async fn changed(&self) -> Result<bool, JoinError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.changed.swap(false, Ordering::Relaxed))
    }
}

/// A secret whose second reading hangs, and says when it begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct HungReread(pub(crate) Arc<Notify>);

impl KeySource for HungReread {
    async fn login_key(&self) -> Result<Secret, JoinError> {
        FakeKeys::Good.login_key().await
    }

    async fn changed(&self) -> Result<bool, JoinError> {
        self.0.notify_one();
        std::future::pending().await
    }
}
