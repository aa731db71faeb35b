//! How requests follow each other, by the wall clock: whether what is kept between two of them will be of use.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// The pace of requests. The next rest is expected to be like the last one.
#[derive(Debug)]
pub struct Pace(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When the last request was last of concern.
    last: SystemTime,
    /// How long the rest before it was.
    rest: Duration,
}

impl Default for Pace {
    /// Nothing is known yet: no rest is expected.
    fn default() -> Self {
        Self(Mutex::new(State {
            last: SystemTime::now(),
            rest: Duration::ZERO,
        }))
    }
}

impl Pace {
    /// A request begins.
    pub fn begin(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        // A clock that was set back says nothing.
        state.rest = now.duration_since(state.last).unwrap_or(Duration::ZERO);
        state.last = now;
    }

    /// It has been answered. Tells whether a rest of more than `limit` is to be expected now.
    pub fn rests_longer_than(&self, limit: Duration) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.last = SystemTime::now();
        state.rest > limit
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LIMIT: Duration = Duration::from_secs(50);

    #[test]
    fn the_next_rest_is_expected_to_be_like_the_last() {
        let pace = Pace::default();
        pace.begin();
        assert!(!pace.rests_longer_than(LIMIT), "the first request tells nothing");
        pace.0.lock().unwrap().last -= 2 * LIMIT;
        pace.begin();
        assert!(pace.rests_longer_than(LIMIT));
        pace.begin();
        assert!(!pace.rests_longer_than(LIMIT), "this one came at once");
        pace.0.lock().unwrap().last += LIMIT;
        pace.begin();
        assert!(!pace.rests_longer_than(LIMIT), "the clock was set back");
    }
}
