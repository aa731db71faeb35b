//! What happened: lines of a process, events of local-lambda. For those who wait for a certain one, and for the
//! message that tells of a process's end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// How many lines an error shows.
const SHOWN: usize = 12;

/// The lines of a process.
pub type Log = History<String>;

/// The items of something that goes on; clones share them.
#[derive(Debug)]
pub struct History<T> {
    items: Arc<Mutex<Vec<T>>>,
    changes: watch::Sender<()>,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self {
            items: Arc::default(),
            changes: watch::Sender::new(()),
        }
    }
}

impl<T> Clone for History<T> {
    fn clone(&self) -> Self {
        Self {
            items: Arc::clone(&self.items),
            changes: self.changes.clone(),
        }
    }
}

impl<T> History<T> {
    fn items(&self) -> MutexGuard<'_, Vec<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item.
    pub fn push(&self, item: T) {
        self.items().push(item);
        self.changes.send_replace(());
    }

    /// How many items there have been: [`find`](Self::find) looks at those to come from here on.
    pub fn len(&self) -> usize {
        self.items().len()
    }

    /// Whether there has been none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for an item that `pick` takes, from number `since` on: among those that are there and those to come.
    pub async fn find<R>(&self, since: usize, pick: impl Fn(&T) -> Option<R>) -> R {
        self.find_numbered(since, pick).await.1
    }

    /// As [`find`](Self::find), and with it the number of the item after, to go on from.
    pub async fn find_numbered<R>(&self, since: usize, pick: impl Fn(&T) -> Option<R>) -> (usize, R) {
        let mut changes = self.changes.subscribe();
        loop {
            // Before the look, so that an item that comes during it wakes us again.
            changes.mark_unchanged();
            if let Some(found) = self.look_numbered(since, &pick) {
                return found;
            }
            // Never closed: `self` holds a sender.
            let _ = changes.changed().await;
        }
    }

    /// As [`find`](Self::find), but among those that are there alone.
    pub fn look<R>(&self, since: usize, pick: impl Fn(&T) -> Option<R>) -> Option<R> {
        self.look_numbered(since, pick).map(|(_, found)| found)
    }

    /// All that `pick` takes of those that are there.
    pub fn all<R>(&self, pick: impl Fn(&T) -> Option<R>) -> Vec<R> {
        self.items().iter().filter_map(pick).collect()
    }

    fn look_numbered<R>(&self, since: usize, pick: impl Fn(&T) -> Option<R>) -> Option<(usize, R)> {
        let items = self.items();
        let mut items = items.iter().enumerate().skip(since);
        items.find_map(|(index, item)| Some((index + 1, pick(item)?)))
    }
}

impl Log {
    /// The last few lines, indented, to show below an error.
    pub fn tail(&self) -> String {
        let lines = self.items();
        let last = &lines[lines.len().saturating_sub(SHOWN)..];
        last.iter()
            .map(|line| format!("    {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}
