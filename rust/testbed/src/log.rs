//! What happened last: lines of a process, events of local-lambda. For those who wait for a certain one, and for the
//! message that tells of a process's end.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// How many items are kept.
const KEPT: usize = 4000;
/// How many lines an error shows.
const SHOWN: usize = 12;

/// The last lines of a process.
pub type Log = History<String>;

/// The last items of something that goes on; clones share them.
#[derive(Debug)]
pub struct History<T> {
    kept: Arc<Mutex<Kept<T>>>,
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct Kept<T> {
    items: VecDeque<T>,
    /// How many have been dropped: the number of the first that is kept.
    dropped: usize,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self {
            kept: Arc::new(Mutex::new(Kept {
                items: VecDeque::new(),
                dropped: 0,
            })),
            changes: watch::Sender::new(()),
        }
    }
}

impl<T> Clone for History<T> {
    fn clone(&self) -> Self {
        Self {
            kept: Arc::clone(&self.kept),
            changes: self.changes.clone(),
        }
    }
}

impl<T> History<T> {
    /// Adds an item.
    pub fn push(&self, item: T) {
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.items.len() == KEPT {
                kept.items.pop_front();
                kept.dropped += 1;
            }
            kept.items.push_back(item);
        }
        self.changes.send_replace(());
    }

    /// How many items there have been: [`find`](Self::find) looks at those to come from here on.
    pub fn len(&self) -> usize {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.dropped + kept.items.len()
    }

    /// Whether there has been none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for an item that `pick` takes, from number `since` on: among those that are kept and those to come.
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

    /// As [`find`](Self::find), but among those that are kept alone.
    pub fn look<R>(&self, since: usize, pick: impl Fn(&T) -> Option<R>) -> Option<R> {
        self.look_numbered(since, pick).map(|(_, found)| found)
    }

    /// What `pick` takes of those that are kept.
    pub fn all<R>(&self, pick: impl Fn(&T) -> Option<R>) -> Vec<R> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.items.iter().filter_map(pick).collect()
    }

    fn look_numbered<R>(&self, since: usize, pick: impl Fn(&T) -> Option<R>) -> Option<(usize, R)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = since.saturating_sub(kept.dropped);
        let items = kept.items.iter().enumerate().skip(skipped);
        let mut found = items.filter_map(|(index, item)| Some((kept.dropped + index + 1, pick(item)?)));
        found.next()
    }
}

impl Log {
    /// The last few lines, indented, to show below an error.
    pub fn tail(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let hidden = kept.items.len().saturating_sub(SHOWN);
        kept.items
            .iter()
            .skip(hidden)
            .map(|line| format!("    {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(line: &str) -> Option<String> {
        line.strip_prefix("ready on port ").map(str::to_owned)
    }

    #[tokio::test]
    async fn a_line_is_found_whether_it_came_before_or_comes_after() {
        let log = Log::default();
        log.push("ready on port 1".into());
        assert_eq!(log.find(0, |line| port(line)).await, "1");

        let since = log.len();
        let waiting = tokio::spawn({
            let log = log.clone();
            async move { log.find(since, |line| port(line)).await }
        });
        tokio::task::yield_now().await;
        log.push("starting".into());
        log.push("ready on port 2".into());
        assert_eq!(waiting.await.ok().as_deref(), Some("2"));
    }

    #[test]
    fn only_the_last_items_are_kept_and_their_numbers_stay() {
        let log = Log::default();
        (0..KEPT + 10).for_each(|number| log.push(number.to_string()));
        assert_eq!(log.len(), KEPT + 10);
        assert_eq!(log.look(0, |line| Some(line.clone())).as_deref(), Some("10"));
        assert_eq!(
            log.look(KEPT + 9, |line| Some(line.clone())),
            Some((KEPT + 9).to_string())
        );
        assert_eq!(log.look(KEPT + 10, |line| Some(line.clone())), None);
        assert_eq!(log.tail().lines().count(), SHOWN);
    }
}
