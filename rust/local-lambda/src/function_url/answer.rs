//! A buffered answer: the function's JSON becomes an HTTP response.
//!
//! Doc: <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-response-payload>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::Value;

use super::response_head::{Malformed, ResponseHead};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

/// Reads what the function answered. An object with a `statusCode` is a response; any other JSON is the body of a 200.
pub(crate) fn read(payload: Bytes) -> Result<(ResponseHead, Bytes), Malformed> {
    if serde_json::from_slice::<Value>(&payload)?.get("statusCode").is_none() {
        let head = ResponseHead::plain(HeaderValue::from_static("application/json"));
        return Ok((head, payload));
    }
    let head = ResponseHead::read(&payload)?;
    let read: Body = serde_json::from_slice(&payload)?;
    let body = read.body.unwrap_or_default();
    let encoded = read.is_base64_encoded.unwrap_or_default();
    let body = if encoded {
        STANDARD.decode(body)?
    } else {
        body.into_bytes()
    };
    Ok((head, body.into()))
}
