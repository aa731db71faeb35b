//! A request's body: read within the limits, or thrown away.

use bytes::{Bytes, BytesMut};
use http::header;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::errors::ServiceError;
use super::limits;

/// Reads a body that can still fit into an event. JSON never is smaller than what it holds.
pub(crate) async fn read_body(parts: &Parts, mut body: Incoming) -> Result<Bytes, ServiceError> {
    if body.size_hint().lower() > limits::EVENT_BYTES as u64 {
        discard(parts, &mut body).await;
        return Err(ServiceError::request_too_large());
    }
    let mut read = BytesMut::new();
    let collect = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                tracing::info!(%error, "the request's body broke off");
                ServiceError::request_incomplete()
            })?;
            if let Ok(data) = frame.into_data() {
                read.extend_from_slice(&data);
            }
            if read.len() > limits::EVENT_BYTES {
                return Err(ServiceError::request_too_large());
            }
        }
        Ok(())
    };
    match timeout(limits::BODY, collect).await {
        Ok(Ok(())) => Ok(read.freeze()),
        Ok(Err(refusal)) => {
            if refusal == ServiceError::request_too_large() {
                discard(parts, &mut body).await;
            }
            Err(refusal)
        }
        Err(_) => Err(ServiceError::request_incomplete()),
    }
}

/// Reads what is left of a refused request, within bounds, so that its sender gets to see the answer.
pub(crate) async fn discard(parts: &Parts, body: &mut Incoming) {
    if parts.headers.contains_key(header::EXPECT) {
        // Its sender waits to be asked for the body: reading would ask for it.
        return;
    }
    let mut discarded = 0;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > limits::REFUSED_BODY_BYTES {
                return;
            }
        }
    };
    if timeout(limits::BODY, read).await.is_err() {
        tracing::info!(limit = ?limits::BODY, "the rest of a refused request did not come in time");
    }
}
