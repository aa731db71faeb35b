//! How long a ping takes while the link is alive, and so how long to wait for one before the link is taken for dead.

use std::{collections::VecDeque, time::Duration};

/// How many of the last pings are looked at: enough for a quiet one to be among them, few enough to forget a path that
/// is no longer taken.
const KEPT: usize = 8;
/// How long a ping may take where none has been measured yet.
const UNKNOWN: Duration = Duration::from_millis(100);
/// What a ping may take beyond its round trips: the daemon at the other end, and the scheduler's whims.
const SLACK: Duration = Duration::from_millis(12);
/// The longest wait, however far away the tailnet is.
const LONGEST: Duration = Duration::from_millis(250);

/// The last pings that came back over links that were there already.
#[derive(Debug, Default)]
pub(crate) struct RoundTrips {
    last: VecDeque<Duration>,
}

impl RoundTrips {
    /// Whether more are worth a ping of their own.
    pub(crate) fn few(&self) -> bool {
        self.last.len() < KEPT
    }

    pub(crate) fn learn(&mut self, round_trip: Duration) {
        tracing::debug!("a ping came back after {:.1} ms", round_trip.as_secs_f64() * 1000.0);
        self.last.truncate(KEPT - 1);
        self.last.push_front(round_trip);
    }

    /// How long to wait for a ping: three times the shortest of the last ones, and a little. The shortest says most: the
    /// others met a busy moment (the first ones a whole cold start), or a freeze.
    pub(crate) fn patience(&self) -> Duration {
        let shortest = self.last.iter().min();
        shortest.map_or(UNKNOWN, |shortest| (*shortest * 3 + SLACK).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(milliseconds: &[u64]) -> RoundTrips {
        let mut trips = RoundTrips::default();
        milliseconds
            .iter()
            .for_each(|ms| trips.learn(Duration::from_millis(*ms)));
        trips
    }

    #[test]
    fn patience_is_as_long_as_the_link_makes_it() {
        assert_eq!(after(&[]).patience(), UNKNOWN);
        assert_eq!(after(&[1]).patience(), Duration::from_millis(15));
        assert_eq!(after(&[1000]).patience(), LONGEST);
    }

    #[test]
    fn one_quiet_moment_outweighs_the_busy_ones() {
        assert_eq!(after(&[40, 2, 5000, 30]).patience(), after(&[2]).patience());
    }

    #[test]
    fn a_path_that_is_no_longer_taken_is_forgotten() {
        let far = [&[1][..], &[20; KEPT]].concat();
        assert_eq!(after(&far).patience(), after(&[20]).patience());
        assert!(after(&far[..KEPT - 1]).few() && !after(&far[..KEPT]).few());
    }
}
