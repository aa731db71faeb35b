//! What the extension answers.

use std::{io, time::Duration};

use status::{Answer, Ask, Question};
use tokio::time::{Instant, error::Elapsed, timeout_at};

use crate::{config::Config, error::ProxyError};

/// What the extension may take beyond the wait that it was asked for.
const ASK_MARGIN: Duration = Duration::from_millis(250);

/// What the extension answers to one question, in time.
pub(crate) struct Answers {
    question: Question,
    until: Instant,
}

impl Answers {
    /// Asks.
    pub(crate) async fn to(ask: &Ask, config: &Config) -> Result<Self, ProxyError> {
        let until = Instant::now() + ask.wait() + ASK_MARGIN;
        let put = timeout_at(until, Question::put(&config.status_socket, ask)).await;
        let question = in_time(put)?;
        Ok(Self { question, until })
    }

    /// The next of them.
    pub(crate) async fn next(&mut self) -> Result<Answer, ProxyError> {
        in_time(timeout_at(self.until, self.question.next()).await)
    }
}

fn in_time<T>(outcome: Result<io::Result<T>, Elapsed>) -> Result<T, ProxyError> {
    let outcome = outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    outcome.map_err(|error| {
        ProxyError::TailnetUnavailable(format!(
            "the Tailscale extension does not answer: {error}; is its layer there?"
        ))
    })
}
