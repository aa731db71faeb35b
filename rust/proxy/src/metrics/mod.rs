//! Metrics that cost the caller nothing: counted in memory, sent after the answer has been posted.

pub mod aggregator;
pub mod cloudwatch;
pub mod dimensions;
pub mod embedded;
mod metric;
mod proxy_counts;
mod publisher;

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use aggregator::{Aggregate, Aggregator};
pub use dimensions::requested_dimensions;
use lambda_env::{aws::Access, metrics::PROXY_NAMESPACE};
pub use metric::{Dimensions, Metric};
use proxy_counts::{ProfileCounts, ProxyCounts};
use publisher::Publisher;

/// The namespace of what callers ask to have counted.
pub const NAMESPACE: &str = "tailscale-service";

/// How metrics leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// By PutMetricData.
    CloudWatch,
    /// As lines of the log, in the embedded metric format.
    Embedded,
    /// Not at all.
    Off,
}

/// What the construct set about metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name under which every request is counted, also where no caller asks; `None`: they are not.
    pub proxy: Option<String>,
    /// How what callers ask for leaves. By PutMetricData unless told otherwise.
    pub output: Output,
    /// More than `success` and `failure`. Off by default.
    pub details: bool,
    /// How much time there is at least between two calls of PutMetricData; zero: one after each request. 10 s by default.
    pub interval: Duration,
    /// How long a call may keep the environment from its next request. 100 ms by default.
    pub budget: Duration,
    /// Where CloudWatch is.
    pub access: Access,
}

/// Counts, and sends what was counted.
pub struct Metrics {
    settings: Settings,
    proxy: Option<ProxyCounts>,
    aggregator: Mutex<Aggregator>,
    /// The start of the environment has been told.
    started: AtomicBool,
    /// Held while something is sent: one batch at a time.
    sender: tokio::sync::Mutex<Publisher>,
}

impl Metrics {
    /// Metrics with these settings; nothing is opened or read before the first of them is sent.
    pub fn new(settings: Settings) -> Self {
        Self {
            proxy: settings.proxy.as_deref().map(ProxyCounts::of),
            settings,
            aggregator: Mutex::default(),
            started: AtomicBool::new(false),
            sender: tokio::sync::Mutex::default(),
        }
    }

    /// Counts a request of this profile that ends now, with the error of this name if it does so with one.
    pub fn count_request(&self, error: Option<&str>, profile: Option<&str>) {
        if let Some(proxy) = &self.proxy {
            proxy.add(error, profile, SystemTime::now());
        }
    }

    /// Adds one measurement of now.
    pub fn add(&self, dimensions: &Dimensions, metric: Metric, value: u64) {
        if self.settings.output != Output::Off {
            self.aggregator().add(dimensions, metric, value, SystemTime::now());
        }
    }

    /// Whether more is asked for than `success` and `failure`.
    pub fn details(&self) -> bool {
        self.settings.details
    }

    /// Whether this is the first time that this is asked: for what is measured once an environment.
    pub fn first_start_to_tell(&self) -> bool {
        !self.started.swap(true, Ordering::Relaxed)
    }

    /// Sends what is due, after a response has been posted. Takes no longer than the budget; what CloudWatch is slow to
    /// take goes on beside the next requests.
    pub async fn flush(&self) {
        if let Some(proxy) = &self.proxy {
            let due = proxy.take_due(self.settings.interval, SystemTime::now());
            print_counts(&due);
        }
        if self.settings.output == Output::Embedded {
            print(NAMESPACE, &self.aggregator().take_all(), None);
        } else if let Ok(mut sender) = self.sender.try_lock() {
            sender.send_due(&self.settings, &self.aggregator).await;
        }
    }

    /// Sends all there is, before the process ends; `limit` is how long that may take.
    pub async fn flush_all(&self, limit: Duration) {
        if let Some(proxy) = &self.proxy {
            print_counts(&proxy.take_all());
        }
        if self.settings.output == Output::Embedded {
            print(NAMESPACE, &self.aggregator().take_all(), None);
            return;
        }
        let until = tokio::time::Instant::now() + limit;
        if let Ok(mut sender) = tokio::time::timeout_at(until, self.sender.lock()).await {
            sender.send_all(&self.settings, &self.aggregator, until).await;
        }
    }

    fn aggregator(&self) -> MutexGuard<'_, Aggregator> {
        locked(&self.aggregator)
    }
}

fn print_counts(counts: &[ProfileCounts]) {
    for (profile, sums) in counts {
        print(PROXY_NAMESPACE, sums, profile.as_deref());
    }
}

/// Lambda takes standard output for the log, and CloudWatch finds the lines there.
#[expect(clippy::print_stdout, reason = "a metric is a whole line, not a message of the log")]
fn print(namespace: &str, sums: &[Aggregate], profile: Option<&str>) {
    for line in sums.iter().flat_map(|sum| embedded::lines(namespace, sum, profile)) {
        println!("{line}");
    }
}

/// A aggregator is sound whatever happened to its last holder: each change of it is one call.
fn locked(aggregator: &Mutex<Aggregator>) -> MutexGuard<'_, Aggregator> {
    aggregator.lock().unwrap_or_else(PoisonError::into_inner)
}
