//! How long a peer takes to answer, and so how long to wait before no answer means anything.

use std::{collections::VecDeque, time::Duration};

/// How many of the last round trips are kept: few enough to forget a path that is no longer taken.
const KEPT: usize = 4;
/// What an answer may take beyond its round trip: the peer, and the scheduler at both ends.
pub(crate) const SLACK: Duration = Duration::from_millis(12);
/// The longest time-out, however long the last round trips were.
const MAX_TIMEOUT: Duration = Duration::from_secs(5);

/// The last round trips to one peer, over paths that were there already.
#[derive(Debug, Default, Clone)]
pub struct RttEstimator {
    last: VecDeque<Duration>,
}

impl RttEstimator {
    /// Notes a round trip.
    pub fn record(&mut self, round_trip: Duration) {
        self.last.truncate(KEPT - 1);
        self.last.push_front(round_trip);
    }

    /// The longest of the last round trips.
    pub fn longest(&self) -> Option<Duration> {
        self.last.iter().max().copied()
    }

    /// The shortest of the last round trips: the others met a busy moment.
    pub fn shortest(&self) -> Option<Duration> {
        self.last.iter().min().copied()
    }

    /// Whether more round trips are worth a ping of their own.
    pub fn wants_samples(&self) -> bool {
        self.last.len() < KEPT
    }
}

/// How long to wait for an answer where the longest round trip seen lately was `longest`: never below it.
pub fn probe_timeout(longest: Duration) -> Duration {
    (longest + longest / 8 + SLACK).min(MAX_TIMEOUT.max(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn after(samples: &[u64]) -> RttEstimator {
        let mut rtt = RttEstimator::default();
        samples.iter().for_each(|sample| rtt.record(ms(*sample)));
        rtt
    }

    #[test]
    fn the_timeout_is_never_below_the_longest_round_trip_seen_lately() {
        for longest in [0, 1, 30, 100, 300, 1000, 4900, 5000, 9000] {
            let timeout = probe_timeout(ms(longest));
            assert!(timeout >= ms(longest), "{longest}: {timeout:?}");
            assert!(timeout <= ms(longest + longest / 8 + 13), "{longest}: {timeout:?}");
        }
    }

    #[test]
    fn a_path_that_is_no_longer_taken_is_forgotten() {
        let rtt = after(&[300, 20, 21, 22, 23]);
        assert_eq!((rtt.longest(), rtt.shortest()), (Some(ms(23)), Some(ms(20))));
        assert!(after(&[1, 2, 3]).wants_samples() && !rtt.wants_samples());
        assert_eq!(after(&[]).longest(), None);
    }
}
