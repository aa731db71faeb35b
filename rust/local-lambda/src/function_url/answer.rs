//! A buffered answer: the function's JSON becomes an HTTP response.
//!
//! Doc: <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-response-payload>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;

use super::response_head::{Malformed, ResponseHead, unexpected};

/// Reads what the function answered. An object with a `statusCode` is a response; any other JSON is the body of a 200.
pub(crate) fn read(payload: Bytes) -> Result<(ResponseHead, Bytes), Malformed> {
    let value: Value = serde_json::from_slice(&payload)?;
    let Some(fields) = value.as_object().filter(|fields| fields.contains_key("statusCode")) else {
        return Ok((
            ResponseHead::plain(HeaderValue::from_static("application/json")),
            payload,
        ));
    };
    let head = ResponseHead::read(fields)?;
    let encoded = match fields.get("isBase64Encoded") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(encoded)) => *encoded,
        Some(other) => return Err(unexpected("isBase64Encoded", other, "a boolean")),
    };
    let body = match fields.get("body") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(other) => return Err(unexpected("body", other, "a string")),
    };
    let body = if encoded {
        STANDARD.decode(body)?.into()
    } else {
        Bytes::copy_from_slice(body.as_bytes())
    };
    Ok((head, body))
}
