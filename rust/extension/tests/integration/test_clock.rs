//! A wall clock under a test's control.

use std::{
    sync::Mutex,
    time::{Duration, SystemTime},
};

use extension::clock::WallClock;
use tokio::time::Instant;

use crate::stage::secs;

/// A wall clock that goes with the test's time, and jumps over freezes.
#[derive(Debug)]
pub(crate) struct TestClock {
    began: Instant,
    frozen: Mutex<Duration>,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            frozen: Mutex::default(),
        }
    }

    /// The environment is frozen for so long: the monotonic clock stands still.
    pub(crate) fn freeze(&self, time: Duration) {
        *self.frozen.lock().unwrap() += time;
    }
}

impl WallClock for TestClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + secs(1_700_000_000) + self.began.elapsed() + *self.frozen.lock().unwrap()
    }
}
