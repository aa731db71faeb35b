//! A request of the function's, as the tailnet's proxy takes it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header, request::Parts, uri::PathAndQuery};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use tailnet::{host::Host, intermediary::remove_hop_by_hop};
use tokio::time::timeout;

use crate::{config::Config, error::CallError, headers::make_room_for_signature};

/// Lambda's limit for a whole request: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
pub(crate) const BODY_LIMIT: usize = 6 * 1024 * 1024;
/// How much is read of a body that is too large, and for how long.
const DISCARD_LIMIT: usize = 64 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(10);

/// Turns a request for `host` and `port`, in absolute form, into one for the proxy's endpoint that is still to be signed.
pub(crate) async fn rewrite(
    request: Request<Incoming>,
    host: &Host,
    port: u16,
    config: &Config,
) -> Result<Request<Bytes>, CallError> {
    let (mut head, body) = request.into_parts();
    let waits = head.headers.contains_key(header::EXPECT);
    let body = collect(body, waits).await?;
    address(&mut head, host, port, config);
    Ok(Request::from_parts(head, body))
}

fn address(head: &mut Parts, host: &Host, port: u16, config: &Config) {
    let path = head
        .uri
        .path_and_query()
        .cloned()
        .unwrap_or(PathAndQuery::from_static("/"));
    head.uri = path.into();
    head.version = http::Version::HTTP_11;
    remove_hop_by_hop(&mut head.headers);
    make_room_for_signature(&mut head.headers);
    for (name, value) in &config.defaults {
        head.headers.entry(name).or_insert_with(|| value.clone());
    }
    // In absolute form, the URL names the host; a `host` header beside it must be ignored (RFC 9112 section 3.2.2).
    head.headers.insert(header::HOST, config.endpoint.authority.clone());
    let target = match host {
        Host::Address(address) => address.to_string(),
        Host::Name(name) => name.clone(),
    };
    if let Ok(target) = HeaderValue::try_from(target) {
        head.headers.insert(HeaderName::from_static("ts-target-ip"), target);
    }
    head.headers
        .insert(HeaderName::from_static("ts-target-port"), port.into());
}

/// The whole body. `waits`: the client sends it only when it is asked to (100 Continue).
async fn collect(mut body: Incoming, waits: bool) -> Result<Bytes, CallError> {
    if body.size_hint().lower() > BODY_LIMIT as u64 {
        // Before a byte is read: a client that waits does not send it at all.
        if !waits {
            discard(body).await;
        }
        return Err(too_large());
    }
    match Limited::new(&mut body, BODY_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            discard(body).await;
            Err(too_large())
        }
        Err(error) => Err(CallError::InvalidRequest(format!(
            "the request's body ended too early: {error}"
        ))),
    }
}

/// Reads what is left of a body, within limits: a connection that is closed before it is read is reset, and the client
/// would see that in place of the response.
async fn discard(mut body: Incoming) {
    let read = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > DISCARD_LIMIT {
                return;
            }
        }
    };
    // A client that takes longer sees the reset.
    let _ = timeout(DISCARD_TIME, read).await;
}

pub(crate) fn too_large() -> CallError {
    CallError::RequestTooLarge(format!(
        "the request is larger than {BODY_LIMIT} bytes, which is the most that Lambda takes (4.5 MB of a body that is not text): send it in parts"
    ))
}
