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
    cloudwatch::{CloudWatch, Verdict},
    locked,
};

/// How many sums make a batch: half of what PutMetricData takes, and well below its 1 MB with long dimensions.
const BATCH: usize = 250;
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
}

/// A batch that CloudWatch has not answered yet.
#[derive(Debug)]
struct InFlight {
    sums: Arc<Vec<Aggregate>>,
    call: JoinHandle<Verdict>,
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
        match timeout(settings.budget, &mut in_flight.call).await {
            Ok(verdict) => self.settle((in_flight.sums, joined(verdict)), aggregator),
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
            let refused = matches!(ended.1, Verdict::Refused(_));
            self.settle(ended, aggregator);
            if refused {
                let _ = timeout_at(until, sleep(LAST_PAUSE)).await;
            }
        }
        let left: u64 = locked(aggregator).take(usize::MAX).iter().map(Aggregate::count).sum();
        if left > 0 {
            tracing::error!(
                lost = left,
                "{left} measurements could not be sent before the environment ended"
            );
        }
    }

    fn is_due(&self, settings: &Settings, aggregator: &Mutex<Aggregator>) -> bool {
        let waiting = locked(aggregator).len();
        if waiting == 0 {
            return false;
        }
        let pause = match self.refusals {
            0 if waiting >= BATCH => Duration::ZERO,
            0 => settings.interval,
            refusals => settings.interval.max(pause(refusals)),
        };
        // A clock that was set back makes it due, too.
        self.last
            .is_none_or(|last| last.elapsed().map_or(true, |elapsed| elapsed >= pause))
    }

    /// Takes a batch out of the aggregator and sends it on its way.
    fn start(&mut self, settings: &Settings, aggregator: &Mutex<Aggregator>) -> Option<InFlight> {
        let sums = Arc::new(locked(aggregator).take(BATCH));
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
        let call = tokio::spawn(async move { client.put(&batch).await });
        Some(InFlight { sums, call, since: now })
    }

    /// Draws the conclusions from a batch's end.
    fn settle(&mut self, (sums, verdict): (Arc<Vec<Aggregate>>, Verdict), aggregator: &Mutex<Aggregator>) {
        let count: u64 = sums.iter().map(Aggregate::count).sum();
        match verdict {
            Verdict::Accepted => self.refusals = 0,
            Verdict::Refused(why) => {
                self.refusals = self.refusals.saturating_add(1);
                tracing::warn!(
                    kept = count,
                    "CloudWatch takes no metrics: {why}; they are kept and sent again"
                );
                locked(aggregator).put_back(&sums);
            }
            Verdict::Unusable(why) => {
                tracing::error!(
                    lost = count,
                    "{count} measurements are lost: CloudWatch refuses them for good: {why}"
                );
            }
            Verdict::Unknown(why) => {
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

impl InFlight {
    fn is_over(&self) -> bool {
        self.call.is_finished() || self.since.elapsed().map_or(true, |elapsed| elapsed >= ANSWER_LIMIT)
    }

    /// Waits `limit` for the verdict; then it is unknown.
    async fn end(mut self, limit: Duration) -> (Arc<Vec<Aggregate>>, Verdict) {
        let verdict = match timeout(limit, &mut self.call).await {
            Ok(verdict) => joined(verdict),
            Err(_) => {
                self.call.abort();
                let ms = self.since.elapsed().unwrap_or_default().as_millis();
                Verdict::Unknown(format!("no answer within {ms} ms"))
            }
        };
        (self.sums, verdict)
    }
}

fn joined(verdict: Result<Verdict, tokio::task::JoinError>) -> Verdict {
    verdict.unwrap_or_else(|error| Verdict::Unknown(format!("the call failed: {error}")))
}

/// The pause after so many refusals in a row.
fn pause(refusals: u32) -> Duration {
    let doubled = 2u32.saturating_pow(refusals.saturating_sub(1));
    LONGEST_PAUSE.min(FIRST_PAUSE.saturating_mul(doubled))
}
