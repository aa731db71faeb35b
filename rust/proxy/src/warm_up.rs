//! What the warmer says to the proxy, and what it hears back.
//!
//! A warm-up is an invocation whose payload is `{"warmUp":{"until":1767225600000}}` and nothing else. No Function URL's
//! request looks so: only who may invoke the function itself can send one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The payload's only field.
pub const FIELD: &str = "warmUp";

/// The longest that the proxy holds a warm-up; it also bounds how far the clocks of the two may differ.
pub const LONGEST_HOLD: Duration = Duration::from_secs(5);

/// The payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    /// What is asked for.
    pub warm_up: WarmUp,
}

/// Stay busy until then: whoever is invoked meanwhile is another environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// In milliseconds since the Unix epoch. A point in time rather than a duration: an environment that took until
    /// then to start has been busy all the while, and need not stay longer.
    pub until: u64,
}

/// The time lies too far ahead: whoever sent it must mend it, or a clock is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "{FIELD}.until is {until}: it must be a time in milliseconds since the Unix epoch, at most {} ms from now ({now})",
    LONGEST_HOLD.as_millis()
)]
pub struct TooFar {
    until: u64,
    now: u64,
}

/// The proxy's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warm {
    /// Which environment it was: its log stream's name.
    pub environment: String,
    /// Whether this was its first invocation.
    pub new: bool,
    /// Why it is not in the tailnet, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl WarmUp {
    /// One that lasts until `time`.
    pub fn until(time: SystemTime) -> Self {
        Self {
            until: milliseconds(time),
        }
    }

    /// How long it lasts from `now` on.
    ///
    /// # Errors
    /// [`TooFar`]: over [`LONGEST_HOLD`].
    pub fn hold(self, now: SystemTime) -> Result<Duration, TooFar> {
        let (until, now) = (self.until, milliseconds(now));
        let hold = Duration::from_millis(until.saturating_sub(now));
        if hold > LONGEST_HOLD {
            return Err(TooFar { until, now });
        }
        Ok(hold)
    }
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_words_on_the_wire_stay_what_they_are() {
        let payload = Payload {
            warm_up: WarmUp::until(UNIX_EPOCH + Duration::from_millis(1_767_225_600_000)),
        };
        let text = serde_json::to_string(&payload).unwrap();
        assert_eq!(text, r#"{"warmUp":{"until":1767225600000}}"#);
        assert!(text.contains(FIELD));
        let warm = Warm {
            environment: "2026/01/01/[$LATEST]ab".into(),
            new: true,
            trouble: None,
        };
        let text = r#"{"environment":"2026/01/01/[$LATEST]ab","new":true}"#;
        assert_eq!(serde_json::to_string(&warm).unwrap(), text);
        assert_eq!(serde_json::from_str::<Warm>(text).unwrap(), warm);
    }

    #[test]
    fn a_warm_up_lasts_until_its_time_and_never_long() {
        let now = SystemTime::now();
        let lasts = |time| WarmUp::until(time).hold(now);
        assert_eq!(lasts(now + Duration::from_millis(700)), Ok(Duration::from_millis(700)));
        assert_eq!(lasts(now - Duration::from_secs(9)), Ok(Duration::ZERO));
        let message = lasts(now + Duration::from_secs(60)).unwrap_err().to_string();
        assert!(
            message.starts_with("warmUp.until is ") && message.contains("at most 5000 ms"),
            "{message}"
        );
    }
}
