//! The credentials that the AWS SDKs find, kept between requests and found again before they expire.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aws_config::{
    BehaviorVersion, ConfigLoader, Region, SdkConfig, profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig,
};
use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, error::CredentialsError, future},
};
use caller::error::with_causes;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// How long before they expire credentials are renewed: a request may wait for a cold start, and clocks differ.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// The age at which a session token without an expiry is renewed: tools write such tokens into a profile, and replace them
/// there.
const TOKEN_RENEWAL_AGE: Duration = Duration::from_secs(60);
/// The age at which such a token counts as expired.
const TOKEN_MAX_AGE: Duration = Duration::from_secs(2 * 60);
/// The least time from the start of one renewal to the next: ten attempts before credentials expire, however many requests come.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(30);
/// How long the provider may take. The SDK sets no limit for a process, which may ask a person to log in.
const LOAD_LIMIT: Duration = Duration::from_secs(2 * 60);

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

/// Another provider's credentials, kept: a chain reads files, runs processes and asks services. One task at a time
/// loads them: all requests without valid credentials share it, and it goes on if they go away.
#[derive(Debug)]
pub(crate) struct Kept<P>(Arc<Shared<P>>);

#[derive(Debug)]
struct Shared<P> {
    provider: P,
    /// Never locked while the provider is asked.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    found: Option<Found>,
    /// The last one.
    load: Option<Load>,
    /// The start of the last renewal.
    renewed: Option<Instant>,
}

/// Receives what the provider says. The channel closes when the task has ended, even by a panic.
type Load = watch::Receiver<Option<Outcome>>;

type Outcome = Result<Credentials, Arc<CredentialsError>>;

#[derive(Debug)]
struct Found {
    credentials: Credentials,
    at: SystemTime,
}

impl<P: ProvideCredentials + 'static> Kept<P> {
    /// Keeps what `provider` provides.
    pub(crate) fn new(provider: P) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Shared { provider, state }))
    }

    /// Credentials that are valid are returned at once, and renewed in the background shortly before they expire.
    async fn provide(&self) -> provider::Result {
        let mut load = {
            let mut state = self.0.state();
            let now = SystemTime::now();
            match state.found.as_ref().filter(|found| found.is_valid(now)) {
                Some(found) => {
                    let credentials = found.credentials.clone();
                    if !found.is_fresh(now) && state.begins_renewal() {
                        self.0.load(&mut state);
                    }
                    return Ok(credentials);
                }
                None => self.0.load(&mut state),
            }
        };
        let outcome = load
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|outcome| outcome.clone());
        match outcome {
            Some(outcome) => outcome.map_err(CredentialsError::provider_error),
            None => Err(CredentialsError::unhandled("loading the AWS credentials panicked")),
        }
    }
}

impl<P: ProvideCredentials + 'static> Shared<P> {
    /// The load that is under way, or a new one.
    fn load(self: &Arc<Self>, state: &mut State) -> Load {
        let under_way = |load: &&Load| load.borrow().is_none() && load.has_changed().is_ok();
        if let Some(load) = state.load.as_ref().filter(under_way) {
            return load.clone();
        }
        let (sender, load) = watch::channel(None);
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = shared.ask().await;
            // The state's receiver waits for nothing: with that one alone, no request tells of the failure.
            if let Err(error) = &outcome
                && sender.receiver_count() == 1
            {
                tracing::warn!("the AWS credentials cannot be renewed yet: {}", with_causes(error));
            }
            sender.send_replace(Some(outcome));
        });
        state.load = Some(load.clone());
        load
    }

    async fn ask(&self) -> Outcome {
        let at = SystemTime::now();
        let asked = timeout(LOAD_LIMIT, self.provider.provide_credentials()).await;
        let credentials = asked.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(LOAD_LIMIT)))?;
        let found = credentials.clone();
        self.state().found = Some(Found { credentials: found, at });
        Ok(credentials)
    }

    /// Sound whatever happened to its last holder: each change of it is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether it is time for a renewal. If so, the next one is due after [`RENEWAL_INTERVAL`].
    fn begins_renewal(&mut self) -> bool {
        let due = self.renewed.is_none_or(|renewed| renewed.elapsed() >= RENEWAL_INTERVAL);
        if due {
            self.renewed = Some(Instant::now());
        }
        due
    }
}

impl<P: ProvideCredentials + 'static> ProvideCredentials for Kept<P> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}

impl Found {
    /// Whether the credentials need no renewal yet.
    fn is_fresh(&self, now: SystemTime) -> bool {
        self.lasts(now + MARGIN, now, TOKEN_RENEWAL_AGE)
    }

    /// Whether requests can still be signed with the credentials.
    fn is_valid(&self, now: SystemTime) -> bool {
        self.lasts(now, now, TOKEN_MAX_AGE)
    }

    /// Whether the credentials expire after `until`, or, where a session token has no expiry, whether it is younger than `age`.
    fn lasts(&self, until: SystemTime, now: SystemTime, age: Duration) -> bool {
        match (self.credentials.expiry(), self.credentials.session_token()) {
            (Some(expiry), _) => until < expiry,
            (None, Some(_)) => now.duration_since(self.at).is_ok_and(|passed| passed < age),
            (None, None) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::Read,
        sync::atomic::{AtomicU32, Ordering::Relaxed},
    };

    use tokio::{
        sync::{Notify, Semaphore},
        task::JoinHandle,
        time::advance,
    };

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    /// Within the margin.
    const MINUTE: Duration = Duration::from_secs(60);

    /// A provider that counts, and waits for a permit before each answer.
    #[derive(Debug)]
    struct Scripted {
        asked: AtomicU32,
        begun: Notify,
        permits: Semaphore,
        /// The answer by its number.
        answer: fn(u32) -> provider::Result,
    }

    impl ProvideCredentials for Scripted {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                let number = self.asked.fetch_add(1, Relaxed);
                self.begun.notify_one();
                self.permits.acquire().await.unwrap().forget();
                (self.answer)(number)
            })
        }
    }

    type Trial = Arc<Kept<Scripted>>;

    fn kept(permits: usize, answer: fn(u32) -> provider::Result) -> Trial {
        Arc::new(Kept::new(Scripted {
            asked: AtomicU32::new(0),
            begun: Notify::new(),
            permits: Semaphore::new(permits),
            answer,
        }))
    }

    fn key(number: u32, lasts: impl Into<Option<Duration>>) -> provider::Result {
        let expiry = lasts.into().map(|lasts| SystemTime::now() + lasts);
        Ok(Credentials::new(format!("AKIA{number}"), "s", None, expiry, "test"))
    }

    fn logged_out() -> provider::Result {
        Err(CredentialsError::not_loaded("logged out"))
    }

    impl Kept<Scripted> {
        fn asked(&self) -> u32 {
            self.0.provider.asked.load(Relaxed)
        }

        /// The key that a request gets, or why it gets none.
        async fn key(&self) -> Result<String, String> {
            let provided = self.provide_credentials().await;
            provided
                .map(|credentials| credentials.access_key_id().to_owned())
                .map_err(|error| with_causes(&error))
        }

        /// The same for a request that must not wait: time stands still while anything is ready to go on.
        async fn key_at_once(&self) -> Result<String, String> {
            let began = Instant::now();
            let key = self.key().await;
            assert_eq!(began.elapsed(), Duration::ZERO);
            key
        }

        /// Lets the last load come to its end. A receiver would count as a request that waits.
        async fn settle(&self) {
            let ended = || self.0.state().load.as_ref().unwrap().has_changed().is_err();
            for _ in 0..100 {
                if ended() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            panic!("the load goes on");
        }
    }

    /// So many requests, all of which wait for the provider's first answer.
    async fn requests(kept: &Trial, count: usize) -> Vec<JoinHandle<Result<String, String>>> {
        let request = |_| {
            let kept = Arc::clone(kept);
            tokio::spawn(async move { kept.key().await })
        };
        let requests = (0..count).map(request).collect();
        // The tasks run in the order of their start, and the load after all of them.
        kept.0.provider.begun.notified().await;
        requests
    }

    #[tokio::test(start_paused = true)]
    async fn fresh_credentials_are_returned_without_asking_again() {
        for answer in [|number| key(number, None), |number| key(number, HOUR)] {
            let kept = kept(Semaphore::MAX_PERMITS, answer);
            for _ in 0..3 {
                assert_eq!(kept.key().await.unwrap(), "AKIA0");
            }
            assert_eq!(kept.asked(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_does_not_wait_for_a_renewal_that_hangs() {
        let kept = kept(1, |number| key(number, if number == 0 { MINUTE } else { HOUR }));
        kept.key().await.unwrap();
        assert_eq!(kept.key_at_once().await.unwrap(), "AKIA0");
        kept.0.provider.begun.notified().await;
        advance(RENEWAL_INTERVAL).await;
        assert_eq!(kept.key_at_once().await.unwrap(), "AKIA0");
        tokio::task::yield_now().await;
        assert_eq!(kept.asked(), 2, "a second renewal beside the one that hangs");

        kept.0.provider.permits.add_permits(1);
        kept.settle().await;
        assert_eq!(kept.key_at_once().await.unwrap(), "AKIA1");
        assert_eq!(kept.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_for_the_renewal_under_way_once_the_credentials_expire() {
        let kept = kept(1, |number| key(number, if number == 0 { MINUTE } else { HOUR }));
        kept.key().await.unwrap();
        kept.key_at_once().await.unwrap();
        kept.0.provider.begun.notified().await;
        kept.0.state().found = None;
        kept.0.provider.permits.add_permits(1);
        assert_eq!(kept.key().await.unwrap(), "AKIA1");
        assert_eq!(kept.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn renewals_that_fail_are_spaced_and_logged_and_the_credentials_are_used_meanwhile() {
        let (mut log, writer) = std::io::pipe().unwrap();
        let subscriber = tracing_subscriber::fmt().with_writer(Mutex::new(writer)).finish();
        let logged = tracing::subscriber::set_default(subscriber);
        let kept = kept(9, |number| if number == 0 { key(0, MINUTE) } else { logged_out() });
        kept.key().await.unwrap();
        for renewals in 1..=2 {
            for _ in 0..3 {
                assert_eq!(kept.key_at_once().await.unwrap(), "AKIA0");
                kept.settle().await;
            }
            assert_eq!(kept.asked(), 1 + renewals);
            advance(RENEWAL_INTERVAL).await;
        }
        drop(logged);
        let mut lines = String::new();
        log.read_to_string(&mut lines).unwrap();
        assert_eq!(lines.matches("cannot be renewed yet: ").count(), 2, "{lines}");
        assert_eq!(lines.matches(": logged out").count(), 2, "{lines}");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_without_credentials_share_one_load_which_outlives_the_request_that_began_it() {
        let kept = kept(0, |number| key(number, HOUR));
        let mut requests = requests(&kept, 3).await;
        let first = requests.remove(0);
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        kept.0.provider.permits.add_permits(1);
        for request in requests {
            assert_eq!(request.await.unwrap().unwrap(), "AKIA0");
        }
        assert_eq!(kept.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_given_to_all_that_waited_and_the_next_request_loads_again() {
        let kept = kept(0, |number| if number == 0 { logged_out() } else { key(number, HOUR) });
        let requests = requests(&kept, 3).await;
        kept.0.provider.permits.add_permits(2);
        for request in requests {
            let error = request.await.unwrap().unwrap_err();
            assert!(error.ends_with(": logged out"), "{error}");
        }
        assert_eq!(kept.asked(), 1);
        assert_eq!(kept.key().await.unwrap(), "AKIA1");
    }

    #[tokio::test(start_paused = true)]
    async fn expired_credentials_are_not_returned() {
        let kept = kept(9, |number| {
            if number == 0 {
                key(0, Duration::ZERO)
            } else {
                logged_out()
            }
        });
        // The request that found them gets what the provider says.
        assert_eq!(kept.key().await.unwrap(), "AKIA0");
        assert!(kept.key().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_that_hangs_fails_in_the_end_and_the_next_request_loads_again() {
        let kept = kept(0, |number| key(number, HOUR));
        let began = Instant::now();
        let error = kept.key().await.unwrap_err();
        assert!(error.contains("timed out after 120 seconds"), "{error}");
        assert!(began.elapsed() < LOAD_LIMIT + Duration::from_secs(1));
        kept.0.provider.permits.add_permits(1);
        assert_eq!(kept.key().await.unwrap(), "AKIA1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_that_panics_fails_and_the_next_request_loads_again() {
        let kept = kept(2, |number| {
            assert_ne!(number, 0, "a panic of the provider");
            key(number, HOUR)
        });
        let error = kept.key().await.unwrap_err();
        assert!(error.contains("panicked"), "{error}");
        assert_eq!(kept.key().await.unwrap(), "AKIA1");
    }

    #[test]
    fn a_token_that_does_not_say_when_it_ends_is_loaded_again_and_a_users_key_is_not() {
        let at = SystemTime::UNIX_EPOCH;
        let found = |token: Option<&str>| Found {
            credentials: Credentials::new("A", "s", token.map(str::to_owned), None, "test"),
            at,
        };
        let standing = |token, age| {
            let found = found(token);
            (found.is_fresh(at + age), found.is_valid(at + age))
        };
        assert_eq!(standing(Some("token"), Duration::ZERO), (true, true));
        assert_eq!(standing(Some("token"), TOKEN_RENEWAL_AGE), (false, true));
        assert_eq!(standing(Some("token"), TOKEN_MAX_AGE), (false, false));
        assert_eq!(standing(None, TOKEN_MAX_AGE), (true, true));
    }
}
