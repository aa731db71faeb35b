//! Exponential back-off.

use std::time::{Duration, SystemTime};

use crate::clock::{Clock, since};

/// Pauses that double from the first to the longest, until a success.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses between `first` and `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// Something failed: returns how long to wait before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        (self.first * (1 << doublings)).min(self.longest)
    }

    /// How often it failed in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// It succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// When a request may trigger another attempt, by the wall clock: tailscaled's own pauses stand still in a freeze.
#[derive(Debug)]
pub struct AttemptLimiter {
    backoff: Backoff,
    last: SystemTime,
    pause: Duration,
}

impl AttemptLimiter {
    /// An attempt is made now.
    pub fn new(mut backoff: Backoff, now: SystemTime) -> Self {
        Self {
            pause: backoff.next_pause(),
            backoff,
            last: now,
        }
    }

    /// Whether another attempt may be made now; if so, it counts as made.
    pub fn try_acquire(&mut self, clock: &Clock) -> bool {
        if since(clock, self.last) < self.pause {
            return false;
        }
        self.last = clock.now();
        self.pause = self.backoff.next_pause();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SystemClock;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn pauses_grow_to_their_bound_and_a_success_starts_them_anew() {
        let mut backoff = Backoff::new(secs(1), secs(60));
        let pauses: Vec<Duration> = (0..8).map(|_| backoff.next_pause()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60].map(secs));
        assert_eq!(backoff.failures(), 8);
        backoff.reset();
        assert_eq!((backoff.next_pause(), backoff.failures()), (secs(1), 1));
        for _ in 0..100 {
            assert!(backoff.next_pause() <= secs(60));
        }
    }

    #[test]
    fn an_attempt_is_made_when_its_pause_is_over_by_the_wall_clock() {
        let clock: Clock = Arc::new(SystemClock);
        let mut limiter = AttemptLimiter::new(Backoff::new(secs(1000), secs(4000)), clock.now());
        assert!(!limiter.try_acquire(&clock), "the first has just been made");
        for pause in [1000, 2000, 4000, 4000] {
            limiter.last -= secs(pause - 1);
            assert!(!limiter.try_acquire(&clock));
            limiter.last -= secs(1);
            assert!(limiter.try_acquire(&clock) && !limiter.try_acquire(&clock));
        }
    }
}
