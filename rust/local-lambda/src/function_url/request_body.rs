//! A request's body: read within the limits, or thrown away.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::errors::ServiceError;
use super::limits;

/// Reads a body that can still fit into an event. JSON never is smaller than what it holds.
pub(crate) async fn read_body(mut body: Incoming) -> Result<Bytes, ServiceError> {
    let mut read = BytesMut::new();
    let mut fits = body.size_hint().lower() <= limits::EVENT_BYTES as u64;
    while fits {
        let Some(frame) = body.frame().await else {
            return Ok(read.freeze());
        };
        let frame = frame.map_err(|error| {
            tracing::info!(%error, "the request's body broke off");
            ServiceError::request_incomplete()
        })?;
        if let Ok(data) = frame.into_data() {
            read.extend_from_slice(&data);
        }
        fits = read.len() <= limits::EVENT_BYTES;
    }
    discard(&mut body).await;
    Err(ServiceError::request_too_large())
}

/// Reads what is left of a refused request, so that its sender gets to see the answer: a server that closes with unread
/// bytes resets the connection, and the answer may be lost with it.
pub(crate) async fn discard(body: &mut Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}
