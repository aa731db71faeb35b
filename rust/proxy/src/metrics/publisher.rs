//! When batches are sent, and what is done about those that CloudWatch did not take.
//!
//! PutMetricData cannot be told that it has seen a batch before. So a batch goes again only where it is certain that
//! it was not taken: where there was no connection, or where CloudWatch itself refused. Where the answer stays away
//! the batch was in all likelihood counted, and counts as lost: nothing is ever counted twice.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    Settings,
    aggregator::{Aggregate, Aggregator},
    cloudwatch::{CloudWatch, PutOutcome},
    locked,
};

/// How many sums make a batch: half of what PutMetricData takes.
const BATCH: usize = 500;
/// How long a batch is at most: half of what PutMetricData takes.
const BATCH_BYTES: usize = 500_000;
/// How long the first call may keep the environment beyond its budget while it connects: name, TCP and TLS take longer
/// than they ever will again, and a function with little traffic would never come further.
const FIRST_CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// How long an answer of CloudWatch's may take by the wall clock, which goes on while the environment is frozen.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The pause after a refused batch; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause between two tries while the process ends.
const LAST_PAUSE: Duration = Duration::from_millis(20);

/// Sends batches, one at a time.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    client: Option<CloudWatch>,
    in_flight: Option<InFlight>,
    /// When the last batch left, by the wall clock.
    last: Option<SystemTime>,
    /// How many batches in a row were refused.
    refusals: u32,
    /// By how much batches are smaller than they might be: halved once for each that was too large.
    halvings: u32,
    /// Parts of batches in which CloudWatch refused something for good: sent apart, so that one bad sum takes no others
    /// with it.
    parts: Vec<Vec<Aggregate>>,
    /// A connection has been waited for once.
    has_connected: bool,
}

/// A batch that CloudWatch has not answered yet.
#[derive(Debug)]
struct InFlight {
    sums: Arc<Vec<Aggregate>>,
    client: CloudWatch,
    call: JoinHandle<PutOutcome>,
    since: SystemTime,
}

impl Publisher {
    /// Sends a batch where one is due, and waits for its end within the budget.
    pub(super) async fn send_due(&mut self, settings: &Settings, aggregator: &Mutex<Aggregator>) {
        if let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.is_over()) {
            self.settle(in_flight.end(Duration::ZERO).await, aggregator);
        }
        // Its budget was spent after the request that it was sent after.
        if self.in_flight.is_some() || !self.is_due(settings, aggregator) {
            return;
        }
        let Some(mut in_flight) = self.start(settings, aggregator) else {
            return;
        };
        let mut ended = timeout(settings.budget, &mut in_flight.call).await;
        if ended.is_err() && !in_flight.client.has_sent() && !self.has_connected {
            ended = timeout(FIRST_CONNECT_LIMIT, &mut in_flight.call).await;
        }
        self.has_connected = true;
        match ended {
            Ok(outcome) => self.settle((in_flight.sums, joined(outcome)), aggregator),
            Err(_) => self.in_flight = Some(in_flight),
        }
    }

    /// Sends everything, as far as that is possible by `until`; what is left then is lost, and the log says so.
    pub(super) async fn send_all(&mut self, settings: &Settings, aggregator: &Mutex<Aggregator>, until: Instant) {
        let mut in_flight = self.in_flight.take();
        while Instant::now() < until {
            let Some(batch) = in_flight.take().or_else(|| self.start(settings, aggregator)) else {
                break;
            };
            let ended = batch.end(until.saturating_duration_since(Instant::now())).await;
            let refused = matches!(ended.1, PutOutcome::Refused(_));
            self.settle(ended, aggregator);
            if refused {
                let _ = timeout_at(until, sleep(LAST_PAUSE)).await;
            }
        }
        let parts: u64 = self.parts.drain(..).flatten().map(|sum| sum.count()).sum();
        let left: u64 = parts + locked(aggregator).take_all().iter().map(Aggregate::count).sum::<u64>();
        if left > 0 {
            tracing::error!(
                lost = left,
                "{left} measurements could not be sent before the environment ended"
            );
        }
    }

    fn is_due(&self, settings: &Settings, aggregator: &Mutex<Aggregator>) -> bool {
        let waiting = locked(aggregator).len();
        if waiting == 0 && self.parts.is_empty() {
            return false;
        }
        let pause = match self.refusals {
            0 if waiting >= BATCH || !self.parts.is_empty() => Duration::ZERO,
            0 => settings.interval,
            refusals => settings.interval.max(pause(refusals)),
        };
        // A clock that was set back makes it due, too.
        self.last
            .is_none_or(|last| last.elapsed().map_or(true, |elapsed| elapsed >= pause))
    }

    /// Takes a batch out of the aggregator and sends it on its way.
    fn start(&mut self, settings: &Settings, aggregator: &Mutex<Aggregator>) -> Option<InFlight> {
        let sums = self.parts.pop().unwrap_or_else(|| {
            let (most, bytes) = (BATCH >> self.halvings, BATCH_BYTES >> self.halvings);
            locked(aggregator).take(most.max(1), bytes)
        });
        let sums = Arc::new(sums);
        if sums.is_empty() {
            return None;
        }
        let now = SystemTime::now();
        self.last = Some(now);
        let client = self
            .client
            .get_or_insert_with(|| CloudWatch::new(&settings.access))
            .clone();
        let batch = Arc::clone(&sums);
        client.begin();
        let put = {
            let client = client.clone();
            async move { client.put(&batch).await }
        };
        Some(InFlight {
            sums,
            call: tokio::spawn(put),
            client,
            since: now,
        })
    }

    /// Draws the conclusions from a batch's end.
    fn settle(&mut self, (sums, outcome): (Arc<Vec<Aggregate>>, PutOutcome), aggregator: &Mutex<Aggregator>) {
        let count: u64 = sums.iter().map(Aggregate::count).sum();
        match outcome {
            PutOutcome::Accepted => self.refusals = 0,
            PutOutcome::Refused(why) => {
                self.refusals = self.refusals.saturating_add(1);
                tracing::warn!(
                    kept = count,
                    "CloudWatch takes no metrics: {why}; they are kept and sent again"
                );
                locked(aggregator).put_back(&sums);
            }
            PutOutcome::TooLarge(_) if sums.len() > 1 => {
                self.halvings = (self.halvings + 1).min(BATCH.ilog2());
                self.split(sums);
            }
            PutOutcome::Unusable(_) if sums.len() > 1 => self.split(sums),
            PutOutcome::Unusable(why) | PutOutcome::TooLarge(why) => {
                tracing::error!(
                    lost = count,
                    "{count} measurements are lost: CloudWatch refuses them for good: {why}"
                );
            }
            PutOutcome::Unknown(why) => {
                tracing::warn!(
                    lost = count,
                    "{count} measurements may be lost: CloudWatch did not say whether it took them: {why}"
                );
            }
        }
        let dropped = locked(aggregator).take_lost();
        if dropped > 0 {
            tracing::error!(
                lost = dropped,
                "{dropped} measurements are lost: too many wait to be sent"
            );
        }
    }
}

impl Publisher {
    /// Has the halves of a batch sent apart.
    fn split(&mut self, sums: Arc<Vec<Aggregate>>) {
        let mut first = Arc::unwrap_or_clone(sums);
        let second = first.split_off(first.len() / 2);
        self.parts.extend([second, first]);
    }
}

impl InFlight {
    fn is_over(&self) -> bool {
        self.call.is_finished() || self.since.elapsed().map_or(true, |elapsed| elapsed >= ANSWER_LIMIT)
    }

    /// Waits `limit` for the batch's end; then it is unknown, or, if nothing has left yet, refused.
    async fn end(mut self, limit: Duration) -> (Arc<Vec<Aggregate>>, PutOutcome) {
        let outcome = match timeout(limit, &mut self.call).await {
            Ok(outcome) => joined(outcome),
            Err(_) => {
                self.call.abort();
                let ms = self.since.elapsed().unwrap_or_default().as_millis();
                if self.client.has_sent() {
                    PutOutcome::Unknown(format!("no response within {ms} ms"))
                } else {
                    PutOutcome::Refused(format!("no connection within {ms} ms"))
                }
            }
        };
        (self.sums, outcome)
    }
}

fn joined(outcome: Result<PutOutcome, tokio::task::JoinError>) -> PutOutcome {
    outcome.unwrap_or_else(|error| PutOutcome::Unknown(format!("the call failed: {error}")))
}

/// The pause after so many refusals in a row.
fn pause(refusals: u32) -> Duration {
    let doubled = 2u32.saturating_pow(refusals.saturating_sub(1));
    LONGEST_PAUSE.min(FIRST_PAUSE.saturating_mul(doubled))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aws_credential_types::Credentials;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{config::Config, metrics::Metric};

    #[tokio::test]
    async fn a_batch_that_never_left_is_told_from_one_that_may_have_arrived() {
        for (scheme, kept) in [("https", true), ("http", false)] {
            // Takes connections, and says nothing: to https it is one that is never made.
            let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut settings = Config::parse(|_| None).unwrap().metrics;
            settings.access.region = Some("eu-west-1".into());
            settings.access.endpoint = Some(format!("{scheme}://{}", silent.local_addr().unwrap()));
            settings.access.credentials = Some(Credentials::new("id", "secret", None, None, "test"));
            let aggregator = Mutex::new(Aggregator::default());
            locked(&aggregator).add(&Vec::new().into(), Metric::Success, 1, SystemTime::now());
            let in_flight = Publisher::default().start(&settings, &aggregator).unwrap();
            let (_, outcome) = in_flight.end(Duration::from_millis(300)).await;
            assert_eq!(matches!(outcome, PutOutcome::Refused(_)), kept, "{scheme}: {outcome:?}");
            assert_eq!(
                matches!(outcome, PutOutcome::Unknown(_)),
                !kept,
                "{scheme}: {outcome:?}"
            );
        }
    }
}
