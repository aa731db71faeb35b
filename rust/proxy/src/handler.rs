//! One invocation: what it asks for is done, whatever happens in between.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use crate::warm_up::{Warm, WarmUp};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName};
use tokio::{
    join,
    time::{Instant, sleep_until},
};

use crate::{
    allowlist::Allowlist,
    clock::Clock,
    config::Config,
    diagnose::Report,
    error::ProxyError,
    event::{Event, Headers},
    forward::{Forwarder, UpstreamResponse},
    metrics::Metrics,
    profiles::{Profile, Profiles},
    request,
    request_log::RequestRecord,
    runtime_api::Invocation,
    target::Target,
    timeouts::{Timeouts, deadline},
};

/// Handles invocations.
pub struct Handler {
    metrics: Arc<Metrics>,
    forwarder: Forwarder,
    timeouts: Timeouts,
    allowlist: Option<Allowlist>,
    profiles: Option<Profiles>,
    forward_caller_arn: bool,
    environment: String,
    /// Whether the environment has been invoked before.
    used: AtomicBool,
}

impl Handler {
    /// A handler with these settings.
    pub fn new(config: Config) -> Self {
        Self::with_clock(config, Clock::default())
    }

    /// The same by this wall clock.
    pub fn with_clock(config: Config, clock: Clock) -> Self {
        Self {
            metrics: Arc::new(Metrics::new(config.metrics.clone())),
            timeouts: Timeouts::of(&config),
            allowlist: config.allowed_targets.clone(),
            profiles: config.profiles.clone(),
            forward_caller_arn: config.forward_caller_arn,
            environment: config.environment.clone(),
            used: AtomicBool::new(false),
            forwarder: Forwarder::new(config, clock),
        }
    }

    /// What reads the rest of a response.
    pub fn forwarder(&self) -> &Forwarder {
        &self.forwarder
    }

    /// What counts the requests.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Forwards a request, as far as the head of the target's response. The record is written when it is dropped.
    pub async fn open(
        &self,
        event: Event,
        invocation: &Invocation,
    ) -> (Result<UpstreamResponse, ProxyError>, RequestRecord) {
        let mut record = RequestRecord::open(&self.metrics, &event, &invocation.request_id);
        let opened = catch_panic(self.forward(event, invocation, &mut record)).await;
        (opened, record)
    }

    /// Keeps the environment busy for as long as the warmer says, and meanwhile the path to the tailnet alive. That the
    /// tailnet is not there is no failure of the warm-up: the response tells.
    pub async fn warm_up(&self, warm_up: WarmUp, invocation: &Invocation) -> Result<Warm, ProxyError> {
        let new = !self.used.swap(true, Ordering::Relaxed);
        let warmed = async {
            self.profile(invocation)?;
            let hold = warm_up.hold(SystemTime::now());
            let hold = hold.map_err(|error| ProxyError::InvalidRequest(error.to_string()))?;
            let end = deadline(invocation.deadline_ms);
            let held = sleep_until(end.min(Instant::now() + hold));
            let ((), path) = join!(held, self.forwarder.keep_alive(end));
            Ok(Warm {
                environment: self.environment.clone(),
                new,
                trouble: path.err().map(|error| error.to_string()),
            })
        };
        catch_panic(warmed).await
    }

    /// Tries what a request with these headers would need, short of the request itself, and tells each step.
    pub async fn diagnose(&self, headers: &Headers, invocation: &Invocation) -> Result<Report, ProxyError> {
        self.used.store(true, Ordering::Relaxed);
        let diagnosed = async {
            let profile = self.profile(invocation)?;
            let target = Target::parse(headers)?;
            let limits = self.timeouts.limits(headers, invocation.deadline_ms)?;
            // Of a target beyond its profile a caller learns nothing, not even whether it is there.
            if let Some(profile) = profile {
                profile.check(&target)?;
            }
            let allowed = self.allowlist.as_ref().map_or(Ok(()), |list| list.check(&target));
            Ok(Report {
                environment: self.environment.clone(),
                ..self.forwarder.diagnose(&target, allowed, limits).await
            })
        };
        catch_panic(diagnosed).await
    }

    async fn forward(
        &self,
        event: Event,
        invocation: &Invocation,
        record: &mut RequestRecord,
    ) -> Result<UpstreamResponse, ProxyError> {
        self.used.store(true, Ordering::Relaxed);
        let profile = self.profile(invocation)?;
        record.profile = profile.map(|profile| profile.name().to_owned());
        let target = Target::parse(&event.headers)?;
        record.target = Some(target.clone());
        if let Some(allowlist) = &self.allowlist {
            allowlist.check(&target)?;
        }
        if let Some(profile) = profile {
            profile.check(&target)?;
        }
        let limits = self.timeouts.limits(&event.headers, invocation.deadline_ms)?;
        let mut request = request::build(event, &target)?;
        if let Some(caller) = record.caller().filter(|_| self.forward_caller_arn) {
            request::set_caller(&mut request, caller)?;
        }
        // Names alone: values can be secrets.
        tracing::debug!(
            "to {target}: {}, headers {}",
            request.method(),
            names(request.headers())
        );
        let response = self
            .forwarder
            .open(target, request, limits, &mut record.timings)
            .await?;
        tracing::debug!("{}, headers {}", response.parts.status, names(&response.parts.headers));
        Ok(response)
    }

    /// The profile of whoever invoked the function, where there is one.
    fn profile(&self, invocation: &Invocation) -> Result<Option<&Profile>, ProxyError> {
        let Some(profiles) = &self.profiles else {
            return Ok(None);
        };
        profiles.choose(invocation.function_arn.as_deref())
    }
}

fn names(headers: &HeaderMap) -> String {
    headers.keys().map(HeaderName::as_str).collect::<Vec<_>>().join(", ")
}

/// Turns a panic into an error.
pub(crate) async fn catch_panic<T>(work: impl Future<Output = Result<T, ProxyError>>) -> Result<T, ProxyError> {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.unwrap_or_else(|panic| Err(ProxyError::Internal(describe(panic.as_ref()))))
}

fn describe(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().map(|message| (*message).to_owned());
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "the proxy failed: {}",
        message.unwrap_or_else(|| "a panic without a message".to_owned())
    )
}
