//! One invocation: an event in, an answer out, whatever happens in between.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::FutureExt;
use tokio::time::Instant;

use crate::{
    answer::Answer, config::Config, error::ProxyError, event::Event, forward::Forwarder, request, target::Target,
};

/// How long before the invocation's end the caller has its answer: time to post it.
const LONGEST_MARGIN: Duration = Duration::from_millis(500);

/// Answers invocations.
pub struct Handler {
    forwarder: Forwarder,
}

impl Handler {
    /// A handler with these settings.
    pub fn new(config: Config) -> Self {
        Self {
            forwarder: Forwarder::new(config),
        }
    }

    /// Answers one event. `deadline_ms` is when the invocation ends, in ms since the Unix epoch.
    pub async fn answer(&self, event: Event, deadline_ms: u64) -> Answer {
        let began = Instant::now();
        let target = Target::parse(&event.headers);
        let method = event.request_context.http.method.clone();
        let to = target.as_ref().map_or_else(|_| "-".to_owned(), ToString::to_string);
        let forwarded = AssertUnwindSafe(self.forward(event, target, end(deadline_ms)))
            .catch_unwind()
            .await;
        let outcome = forwarded.unwrap_or_else(|panic| Err(ProxyError::Internal(describe(panic.as_ref()))));
        let answer = outcome.unwrap_or_else(|error| {
            tracing::warn!("{}: {error}", error.code().1);
            Answer::from_error(&error)
        });
        let ms = began.elapsed().as_secs_f64() * 1000.0;
        tracing::debug!("{method} to {to}: {} in {ms:.1} ms", answer.status());
        answer
    }

    async fn forward(
        &self,
        event: Event,
        target: Result<Target, ProxyError>,
        end: Instant,
    ) -> Result<Answer, ProxyError> {
        let target = target?;
        let request = request::build(event, &target)?;
        let (parts, body) = self.forwarder.exchange(&target, request, end).await?;
        Answer::from_target(parts, body)
    }
}

/// When the caller must have its answer, so that it gets ours and not the service's.
fn end(deadline_ms: u64) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_millis(deadline_ms).saturating_sub(now);
    Instant::now() + left - LONGEST_MARGIN.min(left / 10)
}

fn describe(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "the proxy failed: {}",
        words.unwrap_or_else(|| "a panic without words".to_owned())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_due_before_the_invocation_ends() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let in_seconds = |seconds: u64| {
            let deadline = u64::try_from(now.as_millis()).unwrap_or_default() + seconds * 1000;
            end(deadline).saturating_duration_since(Instant::now())
        };
        assert!(
            (2600..=2700).contains(&in_seconds(3).as_millis()),
            "{:?}",
            in_seconds(3)
        );
        assert!(
            (29_400..=29_500).contains(&in_seconds(30).as_millis()),
            "{:?}",
            in_seconds(30)
        );
    }

    #[tokio::test]
    async fn an_invocation_that_has_ended_already_leaves_no_time() {
        assert!(end(0) <= Instant::now());
    }
}
