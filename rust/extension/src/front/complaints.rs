//! What went wrong, in the log: once each, and not without end.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// For how long the same is not said again.
const QUIET: Duration = Duration::from_secs(60);
/// How many different things are said in that time: a client may try one address after the other.
const MOST: usize = 20;

/// The complaints of late.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    said: Mutex<HashMap<String, Instant>>,
}

/// What becomes of a complaint.
#[derive(Debug, PartialEq, Eq)]
enum Course {
    Say,
    SayThatItIsTheLast,
    KeepQuiet,
}

impl Complaints {
    /// Says `complaint` at warn, unless it was said a moment ago or too much was: then only who debugs sees it.
    pub(super) fn say(&self, complaint: String) {
        match self.course(&complaint) {
            Course::Say => tracing::warn!("{complaint}"),
            Course::SayThatItIsTheLast => {
                let seconds = QUIET.as_secs();
                tracing::warn!("{complaint} (more of this kind is not logged for up to {seconds} s)");
            }
            Course::KeepQuiet => tracing::debug!("{complaint}"),
        }
    }

    fn course(&self, complaint: &str) -> Course {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        said.retain(|_, when| now.duration_since(*when) < QUIET);
        if said.contains_key(complaint) || said.len() >= MOST {
            return Course::KeepQuiet;
        }
        said.insert(complaint.to_owned(), now);
        if said.len() == MOST {
            return Course::SayThatItIsTheLast;
        }
        Course::Say
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_is_said_once_a_minute_and_different_things_up_to_a_bound() {
        let complaints = Complaints::default();
        assert_eq!(complaints.course("a"), Course::Say);
        assert_eq!(complaints.course("a"), Course::KeepQuiet);
        for number in 2..MOST {
            assert_eq!(complaints.course(&number.to_string()), Course::Say);
        }
        assert_eq!(complaints.course("the last"), Course::SayThatItIsTheLast);
        assert_eq!(complaints.course("one too many"), Course::KeepQuiet);
        tokio::time::advance(QUIET).await;
        assert_eq!(complaints.course("a"), Course::Say);
    }
}
