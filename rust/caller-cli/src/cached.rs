//! Credentials that are kept until shortly before they expire.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, SharedCredentialsProvider, future},
};

/// How long before their end credentials are replaced: a signature is good for 5 minutes.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html>
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// Another provider's credentials, kept: a chain reads files, runs processes and asks services each time.
#[derive(Debug)]
pub(crate) struct Cached {
    provider: SharedCredentialsProvider,
    kept: Mutex<Option<Credentials>>,
}

impl Cached {
    /// Keeps what `provider` provides.
    pub(crate) fn new(provider: SharedCredentialsProvider) -> Self {
        Self {
            provider,
            kept: Mutex::default(),
        }
    }

    async fn provide(&self) -> provider::Result {
        let kept = self.kept().clone();
        if let Some(kept) = kept.filter(|kept| is_fresh(kept, SystemTime::now())) {
            return Ok(kept);
        }
        // Requests that come at the same time may ask more than once: no lock is held meanwhile.
        let credentials = self.provider.provide_credentials().await?;
        *self.kept() = Some(credentials.clone());
        Ok(credentials)
    }

    /// Sound whatever happened to its last holder: each change of it is whole.
    fn kept(&self) -> MutexGuard<'_, Option<Credentials>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProvideCredentials for Cached {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}

/// Whether credentials will do for a while yet.
fn is_fresh(credentials: &Credentials, now: SystemTime) -> bool {
    credentials.expiry().is_none_or(|expiry| now + MARGIN < expiry)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    };

    use super::*;

    /// Provides credentials that last for so long, and counts.
    #[derive(Debug)]
    struct Counting(Arc<AtomicU32>, Option<Duration>);

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.0.fetch_add(1, Relaxed);
            let expiry = self.1.map(|lasts| SystemTime::now() + lasts);
            future::ProvideCredentials::ready(Ok(Credentials::new(format!("AKIA{number}"), "s", None, expiry, "test")))
        }
    }

    #[tokio::test]
    async fn credentials_are_asked_for_again_shortly_before_they_expire() {
        for (lasts, asked) in [
            (None, 1),
            (Some(Duration::from_secs(3600)), 1),
            (Some(Duration::from_secs(60)), 3),
        ] {
            let count = Arc::new(AtomicU32::new(0));
            let cached = Cached::new(SharedCredentialsProvider::new(Counting(Arc::clone(&count), lasts)));
            for _ in 0..3 {
                cached.provide_credentials().await.unwrap();
            }
            assert_eq!(count.load(Relaxed), asked, "{lasts:?}");
        }
    }
}
