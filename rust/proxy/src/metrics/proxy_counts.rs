//! What is counted of every request, whether or not its caller asks: requests, and errors by their name.
//!
//! Always in the embedded format. A function that is not in its tailnet may have no way to CloudWatch either, and an
//! alarm must be raised all the same: Lambda takes the log to CloudWatch by itself.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use lambda_env::metrics::PROXY;

use super::{
    aggregator::{Aggregate, Aggregator},
    metric::{Dimensions, Metric},
};

/// The dimension that tells errors apart: the value of `ts-error-name`.
const ERROR: &str = "error";

/// The sums of those who came by one profile, or by none. The profiles are as many as the owner set.
pub(super) type ProfileCounts = (Option<String>, Vec<Aggregate>);

/// The counts of one proxy.
#[derive(Debug)]
pub(super) struct ProxyCounts {
    name: String,
    requests: Dimensions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<Option<String>, Aggregator>,
    /// An error is among them.
    urgent: bool,
    /// When counts were last told, by the wall clock.
    last: Option<SystemTime>,
}

impl ProxyCounts {
    /// The counts of the proxy of this name.
    pub(super) fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            requests: [(PROXY.to_owned(), name.to_owned())].into(),
            state: Mutex::default(),
        }
    }

    /// Counts a request by a profile, which may have ended with the error of this name.
    pub(super) fn add(&self, error: Option<&str>, profile: Option<&str>, time: SystemTime) {
        let mut state = self.state();
        state.urgent |= error.is_some();
        let waiting = state.waiting.entry(profile.map(str::to_owned)).or_default();
        waiting.add(&self.requests, Metric::Requests, 1, time);
        if let Some(error) = error {
            let dimensions = [
                (PROXY.to_owned(), self.name.clone()),
                (ERROR.to_owned(), error.to_owned()),
            ];
            waiting.add(&dimensions.into(), Metric::Errors, 1, time);
        }
    }

    /// Takes out what is due: everything as soon as there is an error, for an environment may be frozen for long after it,
    /// and what has been gathered for `interval` otherwise.
    pub(super) fn take_due(&self, interval: Duration, now: SystemTime) -> Vec<ProfileCounts> {
        let mut state = self.state();
        let rested = state.last.is_none_or(|last| {
            // Where the clock was set back, that time is over too.
            now.duration_since(last).map_or(true, |rested| rested >= interval)
        });
        if state.waiting.is_empty() || !(state.urgent || rested) {
            return Vec::new();
        }
        state.urgent = false;
        state.last = Some(now);
        state.take_all()
    }

    /// Takes out all there is.
    pub(super) fn take_all(&self) -> Vec<ProfileCounts> {
        self.state().take_all()
    }

    /// Sound whatever happened to its last holder: each change of it is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_all(&mut self) -> Vec<ProfileCounts> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .into_iter()
            .map(|(profile, mut sums)| (profile, sums.take_all()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Name, dimensions and count of each sum that is due.
    fn due(counts: &ProxyCounts, seconds: u64) -> Vec<(&'static str, String, u64)> {
        let mut due: Vec<_> = counts
            .take_due(INTERVAL, at(seconds))
            .iter()
            .flat_map(|(_, sums)| sums)
            .map(|sum| {
                let dimensions = sum.dimensions().iter().map(|(name, value)| format!("{name}={value}"));
                (
                    sum.metric().name(),
                    dimensions.collect::<Vec<_>>().join(","),
                    sum.count(),
                )
            })
            .collect();
        due.sort();
        due
    }

    #[test]
    fn requests_are_gathered_for_the_interval() {
        let counts = ProxyCounts::of("office");
        let requests = |count| vec![("requests", "proxy=office".to_owned(), count)];
        assert_eq!(due(&counts, 0), []);
        counts.add(None, None, at(0));
        assert_eq!(due(&counts, 0), requests(1));
        counts.add(None, None, at(1));
        counts.add(None, None, at(9));
        assert_eq!(due(&counts, 9), []);
        assert_eq!(due(&counts, 10), requests(2));
        counts.add(None, None, at(11));
        assert_eq!(counts.take_all().len(), 1);
    }

    #[test]
    fn an_error_is_told_at_once_by_its_name() {
        let counts = ProxyCounts::of("office");
        counts.add(None, None, at(0));
        assert_eq!(due(&counts, 0).len(), 1);
        counts.add(None, None, at(1));
        counts.add(Some("TailnetUnavailable"), None, at(1));
        let unavailable = "proxy=office,error=TailnetUnavailable".to_owned();
        assert_eq!(
            due(&counts, 1),
            [("errors", unavailable, 1), ("requests", "proxy=office".to_owned(), 2)]
        );
        counts.add(None, None, at(2));
        assert_eq!(due(&counts, 2), [], "the next request is no error");
    }

    #[test]
    fn what_came_by_a_profile_is_told_apart() {
        let counts = ProxyCounts::of("office");
        for profile in [Some("billing"), None, Some("billing")] {
            counts.add(None, profile, at(0));
        }
        let told = counts.take_due(INTERVAL, at(0));
        let told: Vec<_> = told
            .iter()
            .map(|(profile, sums)| (profile.as_deref(), sums.iter().map(Aggregate::count).sum()))
            .collect();
        assert_eq!(told, [(None, 1), (Some("billing"), 2_u64)]);
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nothing() {
        let counts = ProxyCounts::of("office");
        counts.add(None, None, at(1000));
        assert_eq!(due(&counts, 1000).len(), 1);
        counts.add(None, None, at(10));
        assert_eq!(due(&counts, 10).len(), 1);
    }
}
