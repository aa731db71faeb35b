//! Whether the environment was frozen, or only idle: by the wall clock both are a gap, and other clocks may tell neither.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::sleep;

/// How often it is noted that the environment is awake.
const TICK: Duration = Duration::from_secs(5);

/// What is known of freezes.
#[derive(Debug)]
pub(crate) struct Wakefulness(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When the environment was last known to be awake.
    awake: SystemTime,
    /// The longest freeze that nobody has asked for yet.
    frozen: Duration,
}

impl Wakefulness {
    /// Awake now.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            awake: SystemTime::now(),
            frozen: Duration::ZERO,
        }))
    }

    /// Takes notes for ever.
    pub(crate) async fn watch(&self) {
        loop {
            sleep(TICK).await;
            drop(self.note());
        }
    }

    /// How long the longest freeze was, at least, since this was last asked; zero where there was none of note.
    pub(crate) fn longest_freeze(&self) -> Duration {
        std::mem::take(&mut self.note().frozen)
    }

    fn note(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        // Notes come late on a machine that is busy, but not twice as late. A clock that was set back says nothing.
        let gap = now.duration_since(state.awake).unwrap_or_default();
        if gap >= 2 * TICK {
            state.frozen = state.frozen.max(gap - TICK);
        }
        state.awake = now;
        state
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FREEZE: Duration = Duration::from_secs(300);

    #[test]
    fn a_freeze_is_told_once_and_no_longer_than_it_was() {
        let wakefulness = Wakefulness::new();
        assert_eq!(wakefulness.longest_freeze(), Duration::ZERO);
        wakefulness.0.lock().unwrap().awake -= FREEZE;
        // Whether its end is noted by the watch or by the question makes no difference.
        drop(wakefulness.note());
        let told = wakefulness.longest_freeze();
        assert!(told <= FREEZE && told >= FREEZE - 2 * TICK, "{told:?}");
        assert_eq!(wakefulness.longest_freeze(), Duration::ZERO);
    }

    #[test]
    fn one_who_is_awake_has_not_been_frozen_however_long_nobody_asks() {
        let wakefulness = Wakefulness::new();
        for _ in 0..100 {
            wakefulness.0.lock().unwrap().awake -= TICK;
            drop(wakefulness.note());
        }
        wakefulness.0.lock().unwrap().awake += FREEZE;
        assert_eq!(wakefulness.longest_freeze(), Duration::ZERO, "the clock was set back");
    }
}
