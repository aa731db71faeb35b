//! How long the environment has been a machine of the tailnet, as a metric: Tailscale's plans count such minutes.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use lambda_env::metrics::{EmbeddedMetric, PROXY, PROXY_NAMESPACE};
use tokio::time::sleep;

use crate::clock::Clock;

/// The metric's name.
const NAME: &str = "tailnet-minutes";

/// How much time lies between two lines, at least. An environment that ends without SHUTDOWN has not told what came after
/// the last one.
const INTERVAL: Duration = Duration::from_secs(60);

/// The minutes of one environment, by the wall clock: a frozen environment is a machine of the tailnet, too. Clones share
/// them.
#[derive(Debug, Clone)]
pub struct TailnetMinutes {
    /// The proxy's name in CloudWatch; nothing is told without one.
    name: Option<Arc<str>>,
    clock: Clock,
    /// Since when the environment has been in the tailnet, or until when it has been told.
    since: Arc<Mutex<Option<SystemTime>>>,
}

impl TailnetMinutes {
    /// The minutes of an environment that is not in the tailnet yet.
    pub fn new(name: Option<&str>, clock: Clock) -> Self {
        Self {
            name: name.map(Arc::from),
            clock,
            since: Arc::default(),
        }
    }

    /// The environment is in the tailnet from now on.
    pub fn joined(&self) {
        self.since().get_or_insert_with(|| self.clock.now());
    }

    /// Tells what has passed, if that is a minute or more.
    pub fn tell(&self) {
        self.print(INTERVAL, Some(self.clock.now()));
    }

    /// The environment has left the tailnet: tells the rest.
    pub fn left(&self) {
        self.print(Duration::ZERO, None);
    }

    /// Tells every minute, for environments that learn of no invocations.
    pub async fn keep_telling(&self) {
        loop {
            sleep(INTERVAL).await;
            self.tell();
        }
    }

    /// Lambda takes standard output for the log, and CloudWatch finds the line there.
    #[expect(clippy::print_stdout, reason = "a metric is a whole line, not a message of the log")]
    fn print(&self, least: Duration, next: Option<SystemTime>) {
        if let Some(line) = self.take(least, next) {
            println!("{line}");
        }
    }

    /// The line for what has passed, if that is `least` or more; what comes is counted from `next` on.
    fn take(&self, least: Duration, next: Option<SystemTime>) -> Option<String> {
        let now = self.clock.now();
        let mut since = self.since();
        // A clock that was set back says nothing: it is counted from its new time on.
        let passed = now.duration_since((*since)?);
        if passed.as_ref().is_ok_and(|passed| *passed < least) {
            return None;
        }
        *since = next;
        drop(since);
        let (name, passed) = (self.name.as_deref()?, passed.ok()?);
        let metric = EmbeddedMetric {
            namespace: PROXY_NAMESPACE,
            name: NAME,
            unit: "None",
            dimensions: &[(PROXY, name)],
            others: &[],
            time: now,
        };
        // Four digits are some milliseconds.
        let minutes = (passed.as_secs_f64() / 60.0 * 10_000.0).round() / 10_000.0;
        Some(metric.line(minutes.into()))
    }

    /// Sound whatever happened to its last holder: each change of it is whole.
    fn since(&self) -> MutexGuard<'_, Option<SystemTime>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::UNIX_EPOCH;

    use serde_json::{Value, json};

    use super::*;
    use crate::clock::WallClock;

    #[derive(Debug, Default)]
    struct SetClock(Mutex<u64>);

    impl WallClock for SetClock {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_secs(*self.0.lock().unwrap())
        }
    }

    struct Environment {
        clock: Arc<SetClock>,
        minutes: TailnetMinutes,
    }

    impl Environment {
        fn new(name: Option<&str>) -> Self {
            let clock = Arc::<SetClock>::default();
            let shared: Clock = Arc::<SetClock>::clone(&clock);
            Self {
                minutes: TailnetMinutes::new(name, shared),
                clock,
            }
        }

        /// The minutes that are told at a second, where `stays` says whether the environment is in the tailnet after it.
        fn at(&self, second: u64, stays: bool) -> Option<f64> {
            *self.clock.0.lock().unwrap() = second;
            let line = if stays {
                self.minutes.take(INTERVAL, Some(self.clock.now()))
            } else {
                self.minutes.take(Duration::ZERO, None)
            };
            let line: Value = serde_json::from_str(&line?).unwrap();
            line["tailnet-minutes"].as_f64()
        }
    }

    #[test]
    fn minutes_are_told_as_they_pass_and_the_rest_at_the_end() {
        let environment = Environment::new(Some("office"));
        assert_eq!(environment.at(100, true), None, "it is not in the tailnet");
        environment.minutes.joined();
        environment.minutes.joined();
        assert_eq!(environment.at(159, true), None);
        assert_eq!(environment.at(160, true), Some(1.0));
        assert_eq!(environment.at(460, true), Some(5.0), "a freeze counts");
        assert_eq!(environment.at(475, false), Some(0.25));
        assert_eq!(environment.at(900, false), None, "it has left");
        environment.minutes.joined();
        assert_eq!(environment.at(930, false), Some(0.5), "another login");
    }

    #[test]
    fn a_line_names_the_proxy() {
        let environment = Environment::new(Some("office"));
        environment.minutes.joined();
        *environment.clock.0.lock().unwrap() = 90;
        let line: Value = serde_json::from_str(&environment.minutes.take(Duration::ZERO, None).unwrap()).unwrap();
        let metric = json!({
            "Namespace": "tailscale-lambda-proxy",
            "Dimensions": [["proxy"]],
            "Metrics": [{"Name": "tailnet-minutes", "Unit": "None"}],
        });
        assert_eq!(
            line,
            json!({
                "_aws": {"Timestamp": 90_000, "CloudWatchMetrics": [metric]},
                "proxy": "office",
                "tailnet-minutes": 1.5,
            })
        );
    }

    #[test]
    fn a_clock_that_is_set_back_tells_nothing_wrong_and_goes_on() {
        let environment = Environment::new(Some("office"));
        *environment.clock.0.lock().unwrap() = 1000;
        environment.minutes.joined();
        assert_eq!(environment.at(10, true), None);
        assert_eq!(environment.at(70, true), Some(1.0));
    }

    #[test]
    fn nothing_is_told_without_a_name() {
        let environment = Environment::new(None);
        environment.minutes.joined();
        assert_eq!(environment.at(600, false), None);
    }
}
