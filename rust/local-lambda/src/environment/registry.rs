//! Where each environment says whether it can take an invocation: what the fleet decides by.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::Order;

/// Whether an environment can take an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Availability {
    /// In INIT, or handling an event.
    Busy,
    /// The caller has its answer; runtime or extensions still work.
    Finishing,
    /// All wait.
    Idle,
    /// It ends, and takes no more.
    Ending,
}

/// One environment.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) availability: Availability,
    pub(crate) orders: mpsc::Sender<Order>,
}

/// All environments that are not gone.
#[derive(Debug, Default)]
pub(crate) struct EnvironmentRegistry {
    entries: Mutex<BTreeMap<u64, Entry>>,
    changed: Notify,
}

impl EnvironmentRegistry {
    /// The entries, locked: for a decision that must not be overtaken by another.
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changes after this was called.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.changed.notified()
    }

    pub(crate) fn set(&self, id: u64, availability: Availability) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.availability = availability;
        }
        self.changed.notify_waiters();
    }

    pub(crate) fn remove(&self, id: u64) {
        self.lock().remove(&id);
        self.changed.notify_waiters();
    }
}
