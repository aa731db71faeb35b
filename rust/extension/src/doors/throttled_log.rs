//! Warnings in the log: each message once a minute, and not without bound.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// For how long a message is not logged again.
const QUIET: Duration = Duration::from_secs(60);
/// How many different messages are logged in that time: a client may try one address after the other.
const MAX_MESSAGES: usize = 20;

/// The messages of late.
#[derive(Debug, Default)]
pub(crate) struct ThrottledLog {
    logged: Mutex<HashMap<String, Instant>>,
}

/// How a message is logged.
#[derive(Debug, PartialEq, Eq)]
enum Level {
    Warn,
    WarnAsTheLast,
    Debug,
}

impl ThrottledLog {
    /// Logs `message` as a warning, unless it was logged a moment ago or too many were: then for debugging only.
    pub(crate) fn warn(&self, message: String) {
        match self.level(&message) {
            Level::Warn => tracing::warn!("{message}"),
            Level::WarnAsTheLast => {
                let seconds = QUIET.as_secs();
                tracing::warn!("{message} (further messages are suppressed for up to {seconds} s)");
            }
            Level::Debug => tracing::debug!("{message}"),
        }
    }

    fn level(&self, message: &str) -> Level {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        logged.retain(|_, when| now.duration_since(*when) < QUIET);
        if logged.contains_key(message) || logged.len() >= MAX_MESSAGES {
            return Level::Debug;
        }
        logged.insert(message.to_owned(), now);
        if logged.len() == MAX_MESSAGES {
            return Level::WarnAsTheLast;
        }
        Level::Warn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_is_logged_once_a_minute_and_different_ones_up_to_a_bound() {
        let log = ThrottledLog::default();
        assert_eq!(log.level("a"), Level::Warn);
        assert_eq!(log.level("a"), Level::Debug);
        for number in 2..MAX_MESSAGES {
            assert_eq!(log.level(&number.to_string()), Level::Warn);
        }
        assert_eq!(log.level("the last"), Level::WarnAsTheLast);
        assert_eq!(log.level("one too many"), Level::Debug);
        tokio::time::advance(QUIET).await;
        assert_eq!(log.level("a"), Level::Warn);
    }
}
