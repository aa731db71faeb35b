//! The credentials that the AWS SDKs find, kept between requests and found again before they expire.

use std::time::{Duration, SystemTime};

use aws_config::{
    BehaviorVersion, ConfigLoader, Region, SdkConfig, profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig,
};
use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, error::CredentialsError, future},
};
use tokio::sync::Mutex;

/// How long before their end credentials are replaced: a request may wait for a cold start, and clocks differ.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// How long a session token is kept that does not say when it ends, as tools write it into a profile: they replace it there.
const TOKEN_LIMIT: Duration = Duration::from_secs(60);

/// Where the SDKs' chain begins to look.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    /// The profile, unless it is the one that the environment names.
    pub(crate) profile: Option<String>,
    /// The region, unless it is the one that the environment or the profile names.
    pub(crate) region: Option<String>,
}

impl Chain {
    /// Reads the AWS configuration.
    pub(crate) async fn load(&self) -> SdkConfig {
        self.loader().load().await
    }

    fn loader(&self) -> ConfigLoader {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        match &self.region {
            Some(region) => loader.region(Region::new(region.clone())),
            None => loader,
        }
    }
}

/// A profile that is named comes before the environment, as with the AWS CLI; in the SDKs' chain it would come after. Either is
/// made anew for each look: it reads its files once, and would not see another login.
impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            if let Some(profile) = &self.profile {
                let config = ProviderConfig::default()
                    .with_behavior_version(Some(BehaviorVersion::latest()))
                    .with_region(self.region.clone().map(Region::new));
                let named = ProfileFileCredentialsProvider::builder().configure(&config);
                let found = named.profile_name(profile).build().provide_credentials().await;
                return found.map_err(|error| of_profile(profile, error));
            }
            let found = self.load().await.credentials_provider();
            let found =
                found.ok_or_else(|| CredentialsError::not_loaded("the AWS configuration names no source of any"))?;
            found.provide_credentials().await
        })
    }
}

/// The SDK does not say which profile it has not found.
fn of_profile(profile: &str, error: CredentialsError) -> CredentialsError {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => CredentialsError::not_loaded(format!(
            "the AWS configuration has no profile '{profile}' with credentials"
        )),
        other => other,
    }
}

/// Another provider's credentials, kept: a chain reads files, runs processes and asks services.
#[derive(Debug)]
pub(crate) struct Kept<P> {
    provider: P,
    /// Locked while the provider is asked, so that it is asked once for all requests that wait.
    last: Mutex<Option<Found>>,
}

#[derive(Debug)]
struct Found {
    credentials: Credentials,
    at: SystemTime,
}

impl<P: ProvideCredentials> Kept<P> {
    /// Keeps what `provider` provides.
    pub(crate) fn new(provider: P) -> Self {
        let last = Mutex::default();
        Self { provider, last }
    }

    async fn provide(&self) -> provider::Result {
        let mut last = self.last.lock().await;
        let now = SystemTime::now();
        if let Some(found) = last.as_ref().filter(|found| found.is_fresh(now)) {
            return Ok(found.credentials.clone());
        }
        match (self.provider.provide_credentials().await, last.as_ref()) {
            (Ok(credentials), _) => {
                *last = Some(Found {
                    credentials: credentials.clone(),
                    at: now,
                });
                Ok(credentials)
            }
            (Err(error), Some(found)) if found.is_valid(now) => {
                tracing::warn!("AWS credentials that soon expire cannot be replaced yet: {error}");
                Ok(found.credentials.clone())
            }
            (Err(error), _) => Err(error),
        }
    }
}

impl<P: ProvideCredentials> ProvideCredentials for Kept<P> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}

impl Found {
    /// Whether the credentials will do for a while yet.
    fn is_fresh(&self, now: SystemTime) -> bool {
        match (self.credentials.expiry(), self.credentials.session_token()) {
            (Some(expiry), _) => now + MARGIN < expiry,
            (None, Some(_)) => now.duration_since(self.at).is_ok_and(|age| age < TOKEN_LIMIT),
            (None, None) => true,
        }
    }

    fn is_valid(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_none_or(|expiry| now < expiry)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    /// Provides credentials that last for so long, counts, and then fails.
    #[derive(Debug, Default)]
    struct Counting {
        asked: AtomicU32,
        lasts: Option<Duration>,
        fails_after: Option<u32>,
    }

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.asked.fetch_add(1, Relaxed);
            if self.fails_after.is_some_and(|limit| number >= limit) {
                return future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("logged out")));
            }
            let expiry = self.lasts.map(|lasts| SystemTime::now() + lasts);
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
            let kept = Kept::new(Counting {
                lasts,
                ..Counting::default()
            });
            for _ in 0..3 {
                kept.provide_credentials().await.unwrap();
            }
            assert_eq!(kept.provider.asked.load(Relaxed), asked, "{lasts:?}");
        }
    }

    #[tokio::test]
    async fn credentials_that_cannot_be_replaced_are_used_until_they_expire() {
        let provider = |lasts| Counting {
            lasts: Some(lasts),
            fails_after: Some(1),
            ..Counting::default()
        };
        let soon = Kept::new(provider(Duration::from_secs(60)));
        let first = soon.provide_credentials().await.unwrap();
        assert_eq!(soon.provide_credentials().await.unwrap(), first);
        let over = Kept::new(provider(Duration::ZERO));
        over.provide_credentials().await.unwrap();
        assert!(over.provide_credentials().await.is_err());
    }

    #[test]
    fn a_token_that_does_not_say_when_it_ends_is_looked_for_again_and_a_users_key_is_not() {
        let at = SystemTime::UNIX_EPOCH;
        let found = |token: Option<&str>| Found {
            credentials: Credentials::new("A", "s", token.map(str::to_owned), None, "test"),
            at,
        };
        let later = at + TOKEN_LIMIT;
        assert!(found(Some("token")).is_fresh(at) && !found(Some("token")).is_fresh(later));
        assert!(found(None).is_fresh(later));
    }
}
