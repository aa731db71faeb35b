//! The wall clock, which goes on while the environment is frozen; the monotonic one may stand still.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Tells the wall-clock time: the system's, except in tests under paused time.
pub trait WallClock: fmt::Debug + Send + Sync {
    /// Now.
    fn now(&self) -> SystemTime;
}

/// A wall clock that is shared.
pub type Clock = Arc<dyn WallClock>;

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// How long ago `then` was. A clock that was set back says nothing: that counts as long ago.
pub fn since(clock: &Clock, then: SystemTime) -> Duration {
    clock.now().duration_since(then).unwrap_or(Duration::MAX)
}
