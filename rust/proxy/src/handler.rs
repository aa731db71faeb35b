//! One invocation: an event in, an answer out, whatever happens in between.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName};
use lambda_http::Context;
use tokio::{
    join,
    time::{Instant, sleep_until},
};
use warm_up::{Warm, WarmUp};

use crate::{
    allowlist::Allowlist,
    clock::Clock,
    config::Config,
    error::ProxyError,
    event::Event,
    forward::{Forwarder, UpstreamResponse},
    metrics::Metrics,
    request,
    request_log::RequestRecord,
    response::Response,
    target::Target,
    timeouts::{Timeouts, deadline},
};

/// Answers invocations.
pub struct Handler {
    metrics: Arc<Metrics>,
    forwarder: Forwarder,
    timeouts: Timeouts,
    allowed_targets: Option<Allowlist>,
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
            allowed_targets: config.allowed_targets.clone(),
            environment: config.environment.clone(),
            used: AtomicBool::new(false),
            forwarder: Forwarder::new(config, clock),
        }
    }

    /// What reads the rest of an answer.
    pub fn forwarder(&self) -> &Forwarder {
        &self.forwarder
    }

    /// What counts the requests.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Answers one event, whole.
    pub async fn answer(&self, event: Event, context: &Context) -> Response {
        let mut record = RequestRecord::open(&self.metrics, &event, &context.request_id);
        let whole = async {
            let reply = self.forward(event, context.deadline, &mut record).await?;
            let (parts, body) = self.forwarder.collect(reply).await?;
            Response::from_target(parts, body)
        };
        unharmed(whole).await.unwrap_or_else(|error| {
            record.fail(&error);
            Response::from_error(&error, record.timings.sent)
        })
    }

    /// Answers one event as far as the head of the target's answer. The record is given when the rest has been read.
    pub async fn open(&self, event: Event, context: &Context) -> (Result<UpstreamResponse, ProxyError>, RequestRecord) {
        let mut record = RequestRecord::open(&self.metrics, &event, &context.request_id);
        let opened = unharmed(self.forward(event, context.deadline, &mut record)).await;
        if let Err(error) = &opened {
            record.fail(error);
        }
        (opened, record)
    }

    /// Keeps the environment busy for as long as the warmer says, and meanwhile the path to the tailnet alive. That the
    /// tailnet is not there is no failure of the warm-up: the answer tells.
    pub async fn warm_up(&self, warm_up: WarmUp, deadline_ms: u64) -> Result<Warm, ProxyError> {
        let new = !self.used.swap(true, Ordering::Relaxed);
        let warmed = async {
            let hold = warm_up.hold(SystemTime::now());
            let hold = hold.map_err(|error| ProxyError::InvalidRequest(error.to_string()))?;
            let end = deadline(deadline_ms);
            let held = sleep_until(end.min(Instant::now() + hold));
            let ((), path) = join!(held, self.forwarder.keep_alive(end));
            Ok(Warm {
                environment: self.environment.clone(),
                new,
                trouble: path.err().map(|error| error.to_string()),
            })
        };
        unharmed(warmed).await
    }

    /// `deadline_ms` is when the invocation ends, in ms since the Unix epoch.
    async fn forward(
        &self,
        event: Event,
        deadline_ms: u64,
        record: &mut RequestRecord,
    ) -> Result<UpstreamResponse, ProxyError> {
        self.used.store(true, Ordering::Relaxed);
        let target = Target::parse(&event.headers)?;
        record.target = Some(target.clone());
        if let Some(allowed) = &self.allowed_targets {
            allowed.check(&target)?;
        }
        let limits = self.timeouts.limits(&event.headers, deadline_ms)?;
        let request = request::build(event, &target)?;
        // Names of headers, and the path without its query: values and parameters can be secrets.
        tracing::debug!(
            "{} {} to {target}, headers {}",
            request.method(),
            request.uri().path(),
            names(request.headers())
        );
        let reply = self
            .forwarder
            .open(target, request, limits, &mut record.timings)
            .await?;
        tracing::debug!("{}, headers {}", reply.parts.status, names(&reply.parts.headers));
        Ok(reply)
    }
}

fn names(headers: &HeaderMap) -> String {
    headers.keys().map(HeaderName::as_str).collect::<Vec<_>>().join(", ")
}

/// Turns a panic into an answer, and tells the log of what went wrong and how long it took.
async fn unharmed<T>(work: impl Future<Output = Result<T, ProxyError>>) -> Result<T, ProxyError> {
    let began = Instant::now();
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|panic| Err(ProxyError::Internal(describe(panic.as_ref()))));
    let ms = began.elapsed().as_secs_f64() * 1000.0;
    match &outcome {
        Ok(_) => tracing::debug!("answered in {ms:.1} ms"),
        Err(error) => tracing::warn!("{} after {ms:.1} ms: {error}", error.code().1),
    }
    outcome
}

fn describe(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "the proxy failed: {}",
        words.unwrap_or_else(|| "a panic without words".to_owned())
    )
}
