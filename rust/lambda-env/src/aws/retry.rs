//! Calls of AWS that are made again while the service is busy, or does not answer.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{Access, Call, CallError};

/// How long a call may take, repetitions included: INIT has 10 s for everything.
const LIMIT: Duration = Duration::from_secs(6);
/// How long one attempt may take. None begins that would not have as long, or a service that throttles would be told as one
/// that does not answer.
const ATTEMPT: Duration = Duration::from_millis(2500);
/// The longest pauses between attempts: a request may wait for all of them. Who goes on trying has a back-off of its own.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(150),
    Duration::from_millis(400),
    Duration::from_millis(800),
];

impl Call<'_> {
    /// Makes the call, again where there is no response, the service fails, or `is_busy` recognizes the body of one that is:
    /// up to 4 times within 6 s. Returns the body of the response.
    ///
    /// # Errors
    /// That of the last attempt.
    pub async fn send(&self, access: &Access, is_busy: impl Fn(&[u8]) -> bool) -> Result<Bytes, CallError> {
        let wire = access.wire();
        let last_start = Instant::now() + LIMIT - ATTEMPT;
        let mut pauses = PAUSES.into_iter().map(spread);
        loop {
            let error = match self.attempt(access, &wire, ATTEMPT).await {
                Ok(response) => return Ok(response.into_body()),
                Err(error) => error,
            };
            let passes = match &error {
                CallError::Refused(response) => response.status().as_u16() >= 500 || is_busy(response.body()),
                CallError::NoResponse(_) => true,
            };
            match pauses
                .next()
                .filter(|pause| passes && Instant::now() + *pause <= last_start)
            {
                Some(pause) => {
                    tracing::debug!("{} is called again: {error}", self.service);
                    sleep(pause).await;
                }
                None => return Err(error),
            }
        }
    }
}

/// Between a half of a pause and the whole of it: environments that start together do not all ask again together.
fn spread(pause: Duration) -> Duration {
    pause.mul_f32(0.5 + fastrand::f32() / 2.0)
}
