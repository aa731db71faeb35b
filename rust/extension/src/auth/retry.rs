//! Calls of AWS that are made again while the service is busy.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use lambda_env::aws::{Access, Call, CallError};
use tokio::time::sleep;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(2500);
/// How many attempts there are, and the pauses between them: with those of the supervisor's own back-off in mind, which
/// goes on after them.
const PAUSES: [Duration; 2] = [Duration::from_millis(150), Duration::from_millis(600)];

/// The body of the response. Where `is_busy` recognizes the refusal of a service that is, the call is repeated.
pub(crate) async fn send(
    call: Call<'_>,
    access: &Access,
    is_busy: impl Fn(u16, &[u8]) -> bool,
) -> Result<Bytes, CallError> {
    let wire = access.wire();
    let attempt = async || call.attempt(access, &wire, ATTEMPT).await.map(Response::into_body);
    for pause in PAUSES {
        match attempt().await {
            Err(CallError::Refused(response)) if is_busy(response.status().as_u16(), response.body()) => {
                tracing::debug!("{} is busy ({}): it is asked again", call.service, response.status());
            }
            Err(CallError::NoResponse(reason)) => {
                tracing::debug!("{} did not answer, and is asked again: {reason}", call.service);
            }
            done => return done,
        }
        sleep(pause).await;
    }
    attempt().await
}
