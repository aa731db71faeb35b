//! What became of a request: a line of the log, and what the caller asked to have counted.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::time::Instant;

use crate::{
    error::ProxyError,
    event::Event,
    metrics::{Dimensions, Metric, Metrics, requested_dimensions},
    target::Target,
};

/// How a request and its answer travelled.
#[derive(Debug, Default)]
pub struct Timings {
    /// By which connection, if there was one.
    pub connection: Option<ConnectionKind>,
    /// Whether the target may have seen the request.
    pub sent: Sent,
    /// How many times the request was sent again.
    pub retries: u32,
    /// The head of the target's answer, and when it came.
    pub head: Option<(StatusCode, Instant)>,
    /// How long the environment's login took, where it got that far.
    pub tailnet_ready: Option<Duration>,
}

/// Whether a request reached its target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sent {
    /// Not a byte of it was sent.
    #[default]
    No,
    /// The target responded.
    Yes,
    /// Some of it was sent, and no response came.
    Unknown,
}

impl Sent {
    /// The value of `ts-error-sent`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Unknown => "unknown",
        }
    }
}

/// By which connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionKind {
    /// A new one.
    New,
    /// One that an earlier request had left.
    Kept,
}

/// The record of one request. It is given when this is dropped, exactly once: an answer that nobody waits for any
/// more has its record, too.
pub struct RequestRecord {
    metrics: Arc<Metrics>,
    asked: Option<Dimensions>,
    began: Instant,
    request_id: String,
    method: String,
    /// Where to, as soon as that is known.
    pub target: Option<Target>,
    /// How it travelled.
    pub timings: Timings,
    error: Option<ProxyError>,
}

impl RequestRecord {
    /// Begins with the arrival of `event`.
    pub fn open(metrics: &Arc<Metrics>, event: &Event, request_id: &str) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            asked: requested_dimensions(&event.headers),
            began: Instant::now(),
            request_id: request_id.to_owned(),
            method: event.request_context.http.method.clone(),
            target: None,
            timings: Timings::default(),
            error: None,
        }
    }

    /// The caller gets this error, or an answer that breaks off because of it.
    pub fn fail(&mut self, error: &ProxyError) {
        self.error = Some(error.clone());
    }

    /// `success`, `failure`, or neither: what is refused before it can be dialled says nothing about a target.
    fn outcome(&self) -> Option<Metric> {
        match (&self.error, self.timings.head) {
            (Some(ProxyError::InvalidRequest(_) | ProxyError::TargetNotAllowed(_)), _) => None,
            (None, Some(_)) => Some(Metric::Success),
            (Some(_), _) | (None, None) => Some(Metric::Failure),
        }
    }

    fn count(&self) {
        let (Some(dimensions), Some(outcome)) = (&self.asked, self.outcome()) else {
            return;
        };
        self.metrics.add(dimensions, outcome, 1);
        if !self.metrics.details() {
            return;
        }
        let add_time = |metric, time: Duration| {
            let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            self.metrics.add(dimensions, metric, ms);
        };
        if let Some((_, came)) = self.timings.head {
            add_time(Metric::FirstByte, came.saturating_duration_since(self.began));
        }
        if let Some(took) = self
            .timings
            .tailnet_ready
            .filter(|_| self.metrics.first_start_to_tell())
        {
            add_time(Metric::TailnetReady, took);
        }
        match self.timings.connection {
            Some(ConnectionKind::New) => self.metrics.add(dimensions, Metric::NewConnection, 1),
            Some(ConnectionKind::Kept) => self.metrics.add(dimensions, Metric::KeptConnection, 1),
            None => {}
        }
        if self.timings.retries > 0 {
            self.metrics
                .add(dimensions, Metric::Retries, self.timings.retries.into());
        }
    }

    /// One line a request. Neither path nor headers: both can hold secrets.
    fn log(&self) {
        let ms = |until: Instant| (until.saturating_duration_since(self.began).as_secs_f64() * 10_000.0).round() / 10.0;
        let status = match (&self.error, self.timings.head) {
            // An error after the head is one in the middle of a streamed answer, or of a buffered one that was not begun.
            (Some(error), _) => Some(error.code().0),
            (None, head) => head.map(|(status, _)| status),
        };
        let connection = self.timings.connection.map(|way| match way {
            ConnectionKind::New => "new",
            ConnectionKind::Kept => "kept",
        });
        tracing::info!(
            request_id = self.request_id,
            method = self.method,
            target = self.target.as_ref().map(tracing::field::display),
            status = status.map(|status| status.as_u16()),
            duration_ms = ms(Instant::now()),
            first_byte_ms = self.timings.head.map(|(_, came)| ms(came)),
            connection,
            retries = self.timings.retries,
            error = self.error.as_ref().map(|error| error.code().1),
            "request"
        );
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.count();
        self.log();
    }
}
