//! When the login may be tried again because a request wants it: the daemon's own pauses stand still in a freeze.

use std::time::{Duration, SystemTime};

/// The pauses between two attempts; they double.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The attempts to log in, by the wall clock.
pub(crate) struct Attempts {
    last: SystemTime,
    pause: Duration,
}

impl Attempts {
    /// The first is made now.
    pub(crate) fn new() -> Self {
        Self {
            last: SystemTime::now(),
            pause: FIRST_PAUSE,
        }
    }

    /// One is made, whatever the last one came to.
    pub(crate) fn begin(&mut self) {
        self.last = SystemTime::now();
    }

    /// The last one has succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.pause = FIRST_PAUSE;
    }

    /// Whether another may be made now. One who hears yes makes it.
    pub(crate) fn may_begin(&mut self) -> bool {
        // A clock that was set back counts as time gone by.
        if self.last.elapsed().unwrap_or(self.pause) < self.pause {
            return false;
        }
        self.begin();
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_a_success_ends_that() {
        let mut attempts = Attempts::new();
        assert!(!attempts.may_begin(), "the first has just begun");
        for _ in 0..10 {
            attempts.last -= attempts.pause;
            assert!(attempts.may_begin());
            assert!(!attempts.may_begin());
        }
        assert_eq!(attempts.pause, LONGEST_PAUSE);
        attempts.succeeded();
        assert_eq!(attempts.pause, FIRST_PAUSE);
    }
}
