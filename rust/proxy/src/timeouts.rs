//! How long a request may take: what the owner set, and what a caller narrows it to by `ts-connect-timeout` and
//! `ts-response-timeout`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::{config::Config, error::ProxyError, event::Headers};

/// How long before the invocation's end the caller has its response: time to post it.
const MAX_MARGIN: Duration = Duration::from_millis(500);
/// The longest time that a caller can ask for: as long as an invocation can last.
const MAX_MS: u64 = 900_000;

/// The owner's time-outs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    connect: Duration,
    first_byte: Option<Duration>,
    idle: Option<Duration>,
    response: Option<Duration>,
}

/// How long one request may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Opening a connection.
    pub connect: Duration,
    /// From the request to the head of the response.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the response's body.
    pub idle: Option<Duration>,
    /// All of it.
    pub deadline: Instant,
}

impl Timeouts {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            connect: config.connect_timeout,
            first_byte: config.first_byte_timeout,
            idle: config.idle_timeout,
            response: config.response_timeout,
        }
    }

    /// The limits of a request with these headers, whose invocation ends at `deadline_ms` (since the Unix epoch).
    pub(crate) fn limits(&self, headers: &Headers, deadline_ms: u64) -> Result<Limits, ProxyError> {
        let asked = asked(headers, "ts-response-timeout")?;
        let response = [self.response, asked].into_iter().flatten().min();
        let connect = asked_or(headers, "ts-connect-timeout", self.connect)?;
        let end = deadline(deadline_ms);
        Ok(Limits {
            connect,
            first_byte: self.first_byte,
            idle: self.idle,
            deadline: response.map_or(end, |response| end.min(Instant::now() + response)),
        })
    }
}

/// When the caller must have its response, so that it gets ours and not the service's.
pub(crate) fn deadline(deadline_ms: u64) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_millis(deadline_ms).saturating_sub(now);
    Instant::now() + left - MAX_MARGIN.min(left / 10)
}

fn asked_or(headers: &Headers, name: &str, owners: Duration) -> Result<Duration, ProxyError> {
    Ok(asked(headers, name)?.map_or(owners, |asked| asked.min(owners)))
}

fn asked(headers: &Headers, name: &str) -> Result<Option<Duration>, ProxyError> {
    let Some(value) = headers.get(name).map(str::trim) else {
        return Ok(None);
    };
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse() {
        Ok(ms) if digits && (1..=MAX_MS).contains(&ms) => Ok(Some(Duration::from_millis(ms))),
        _ => Err(ProxyError::InvalidRequest(format!(
            "the header {name} is '{}': it must be a number of milliseconds from 1 to {MAX_MS}",
            value.escape_default()
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn timeouts() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(5),
            first_byte: None,
            idle: None,
            response: Some(Duration::from_secs(20)),
        }
    }

    fn in_seconds(seconds: u64) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::try_from(now.as_millis()).unwrap() + seconds * 1000
    }

    fn limits(pairs: &[(&str, &str)]) -> Result<Limits, ProxyError> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        timeouts().limits(&Headers(pairs.collect()), in_seconds(60))
    }

    fn left(limits: &Limits) -> u128 {
        limits.deadline.saturating_duration_since(Instant::now()).as_millis()
    }

    #[test]
    fn a_caller_narrows_the_owners_time_outs_and_never_widens_them() {
        let narrowed = limits(&[("ts-connect-timeout", "250"), ("ts-response-timeout", " 900 ")]).unwrap();
        assert_eq!(narrowed.connect, Duration::from_millis(250));
        assert!((500..=900).contains(&left(&narrowed)), "{narrowed:?}");
        let widened = limits(&[("ts-connect-timeout", "900000"), ("ts-response-timeout", "900000")]).unwrap();
        assert_eq!(widened.connect, Duration::from_secs(5));
        assert!((19_000..=20_000).contains(&left(&widened)), "{widened:?}");
    }

    #[test]
    fn a_time_out_that_is_no_number_of_milliseconds_is_refused_with_what_it_must_be() {
        for name in ["ts-connect-timeout", "ts-response-timeout"] {
            for value in ["0", "", "5s", "-1", "+1", "1.5", "900001", "99999999999999999999"] {
                let message = limits(&[(name, value)]).unwrap_err().to_string();
                assert!(message.contains(name) && message.contains("milliseconds"), "{message}");
            }
        }
    }

    #[test]
    fn the_response_is_due_before_the_invocation_ends() {
        let left = |seconds| {
            deadline(in_seconds(seconds))
                .saturating_duration_since(Instant::now())
                .as_millis()
        };
        assert!((2500..=2700).contains(&left(3)), "{}", left(3));
        assert!((29_300..=29_500).contains(&left(30)), "{}", left(30));
        assert!(deadline(0) <= Instant::now());
    }
}
