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

/// How a request and its response travelled.
#[derive(Debug, Default)]
pub struct Timings {
    /// By which connection, if there was one.
    pub connection: Option<ConnectionKind>,
    /// Whether the target may have seen the request.
    pub sent: Sent,
    /// How many times the request was sent again.
    pub retries: u32,
    /// The status of the target's response, and when it came.
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

/// The record of one request. It is written when it is dropped, exactly once: so a response that nobody waits for any
/// more has its record, too.
pub struct RequestRecord {
    metrics: Arc<Metrics>,
    asked: Option<Dimensions>,
    began: Instant,
    request_id: String,
    /// Who asked: the ARN that IAM knows the caller by.
    caller: Option<String>,
    /// The profile that it came by, if it was one, as soon as that is known.
    pub profile: Option<String>,
    method: String,
    /// Where to, as soon as that is known.
    pub target: Option<Target>,
    /// How it travelled.
    pub timings: Timings,
    error: Option<ProxyError>,
    /// The status that the caller gets.
    status: Option<u16>,
    /// The whole response, or an error, is on its way to the caller.
    complete: bool,
}

impl RequestRecord {
    /// Begins with the arrival of `event`.
    pub fn open(metrics: &Arc<Metrics>, event: &Event, request_id: &str) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            asked: requested_dimensions(&event.headers),
            began: Instant::now(),
            request_id: request_id.to_owned(),
            caller: event.request_context.caller().map(str::to_owned),
            profile: None,
            method: event.request_context.http.method.clone(),
            target: None,
            timings: Timings::default(),
            error: None,
            status: None,
            complete: false,
        }
    }

    /// Who asked: the ARN that IAM knows the caller by.
    pub fn caller(&self) -> Option<&str> {
        self.caller.as_deref()
    }

    /// The caller gets this error, or a response that breaks off because of it.
    pub fn fail(&mut self, error: &ProxyError) {
        self.error = Some(error.clone());
    }

    /// The caller gets this status.
    pub fn respond(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// The response has come to its end. Where it has not, the caller or the Runtime API broke it off.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// `success`, `failure`, or neither: what is refused before it can be dialled says nothing about a target.
    fn outcome(&self) -> Option<Metric> {
        match (&self.error, self.timings.head) {
            (
                Some(ProxyError::InvalidRequest(_) | ProxyError::TargetNotAllowed(_) | ProxyError::UnknownProfile(_)),
                _,
            ) => None,
            (None, Some(_)) if self.complete => Some(Metric::Success),
            (Some(_), _) | (None, _) => Some(Metric::Failure),
        }
    }

    fn count(&self) {
        self.metrics
            .count_request(self.error.as_ref().map(|error| error.code().1), self.profile.as_deref());
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
        let duration_ms = ms(Instant::now());
        // Where a streamed response broke off, the target's status had gone out before the error.
        let target_status = self.timings.head.map(|(status, _)| status.as_u16());
        let connection = self.timings.connection.map(|kind| match kind {
            ConnectionKind::New => "new",
            ConnectionKind::Kept => "kept",
        });
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id = self.request_id,
                    caller = self.caller,
                    profile = self.profile,
                    method = self.method,
                    target = self.target.as_ref().map(tracing::field::display),
                    status = self.status,
                    target_status = target_status.filter(|status| Some(*status) != self.status),
                    duration_ms,
                    first_byte_ms = self.timings.head.map(|(_, came)| ms(came)),
                    connection,
                    retries = self.timings.retries,
                    error = self.error.as_ref().map(|error| error.code().1),
                    reason = self.error.as_ref().map(tracing::field::display),
                    cut_off = (!self.complete).then_some(true),
                    "request"
                )
            };
        }
        if self.error.is_some() {
            line!(warn);
        } else {
            line!(info);
        }
        tracing::debug!("answered in {duration_ms} ms");
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.count();
        self.log();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    fn record(change: impl FnOnce(&mut RequestRecord)) -> Option<Metric> {
        let event = serde_json::from_value(serde_json::json!({
            "rawPath": "/", "requestContext": {
                "http": {"method": "GET"}, "authorizer": {"iam": {"userArn": "arn:aws:iam::111122223333:role/shop"}},
            },
        }))
        .unwrap();
        let metrics = Arc::new(Metrics::new(Config::parse(|_| None).unwrap().metrics));
        let mut record = RequestRecord::open(&metrics, &event, "the-id");
        assert_eq!(record.caller.as_deref(), Some("arn:aws:iam::111122223333:role/shop"));
        change(&mut record);
        record.outcome()
    }

    #[test]
    fn only_a_response_that_came_to_its_end_is_a_success() {
        let head = |record: &mut RequestRecord| record.timings.head = Some((StatusCode::NOT_FOUND, Instant::now()));
        let whole = record(|record| {
            head(record);
            record.complete();
        });
        assert_eq!(whole, Some(Metric::Success));
        assert_eq!(record(head), Some(Metric::Failure), "cut off");
        let broken = record(|record| {
            head(record);
            record.fail(&ProxyError::TargetUnreachable("m".into()));
            record.complete();
        });
        assert_eq!(broken, Some(Metric::Failure));
        let refused = record(|record| record.fail(&ProxyError::TargetNotAllowed("m".into())));
        assert_eq!(refused, None);
    }
}
