//! The wall clock, by which ages are judged: a frozen environment's monotonic clock stands still, while the other end
//! of a connection goes on and closes what is idle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

/// A wall clock that a test can set forward, as a freeze does. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_ms: Arc<AtomicU64>,
}

impl Clock {
    /// The time.
    pub fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_millis(self.ahead_ms.load(Relaxed))
    }

    /// How long ago `time` was. A clock that was set back says nothing about an age: then it is as long as can be.
    pub fn since(&self, time: SystemTime) -> Duration {
        self.now().duration_since(time).unwrap_or(Duration::MAX)
    }

    /// Sets the clock forward.
    pub fn advance(&self, by: Duration) {
        self.ahead_ms
            .fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }
}
