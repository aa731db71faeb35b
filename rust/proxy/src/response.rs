//! What the caller gets: a target's response or the proxy's own error, in the form that a Function URL takes.
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, response::Parts};
use serde::{Serialize, Serializer, ser::SerializeMap};
use tailnet::{
    event_body::{header_value_text, with_body},
    intermediary::{header_text, remove_hop_by_hop},
};

use crate::{error::ProxyError, headers::is_reserved, request_log::Sent};

/// The service's limit for a whole buffered response, as JSON
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>: 6 MB; the service counts 6 MiB and 100 bytes).
pub const BUFFERED_LIMIT: usize = 6 * 1024 * 1024 + 100;

/// The status, headers and cookies of a response: the part before the body in a streamed one.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseHead {
    status_code: u16,
    #[serde(serialize_with = "as_object")]
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Response {
    status: u16,
    json: String,
}

impl ResponseHead {
    /// The head of a target's response.
    pub fn from_target(status: StatusCode, mut headers: HeaderMap) -> Self {
        frame_anew(&mut headers);
        remove_hop_by_hop(&mut headers);
        let texts = |name: &HeaderName| {
            headers
                .get_all(name)
                .iter()
                .map(|value| header_value_text(value.as_bytes()))
                .collect::<Vec<_>>()
        };
        let cookies = texts(&header::SET_COOKIE);
        let joined = headers
            .keys()
            .filter(|name| **name != header::SET_COOKIE && !is_reserved(name))
            .map(|name| (name.as_str().to_owned(), texts(name).join(", ")))
            .collect();
        Self {
            status_code: status.as_u16(),
            headers: joined,
            cookies,
        }
    }

    /// The head and the body of the proxy's own error; `sent` says whether the request may have reached the target.
    pub fn from_error(error: &ProxyError, sent: Sent) -> (Self, String) {
        let (status, name) = error.code();
        let message = error.to_string();
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("ts-error-name".to_owned(), name.to_owned()),
            ("ts-error-message".to_owned(), header_text(&message)),
            ("ts-error-sent".to_owned(), sent.as_str().to_owned()),
        ];
        if let Some(retry_after) = error.retry_after() {
            // RFC 9110 section 10.2.3: whole seconds.
            let seconds = retry_after.as_millis().div_ceil(1000);
            headers.push(("retry-after".to_owned(), seconds.to_string()));
        }
        let body = serde_json::json!({"error": name, "message": message}).to_string();
        (
            Self {
                status_code: status.as_u16(),
                headers,
                cookies: Vec::new(),
            },
            body,
        )
    }

    /// The status that the caller gets.
    pub fn status(&self) -> u16 {
        self.status_code
    }
}

impl Response {
    /// A target's response.
    pub fn from_target(parts: Parts, body: &[u8]) -> Result<Self, ProxyError> {
        let whole = Self::whole(&ResponseHead::from_target(parts.status, parts.headers), body)?;
        match whole.json.len() {
            0..=BUFFERED_LIMIT => Ok(whole),
            bytes => Err(too_large(&format!("{bytes} bytes of JSON"))),
        }
    }

    /// The proxy's own error; `sent` says whether the request may have reached the target.
    pub fn from_error(error: &ProxyError, sent: Sent) -> Result<Self, ProxyError> {
        let (head, body) = ResponseHead::from_error(error, sent);
        Self::whole(&head, body.as_bytes())
    }

    fn whole(head: &ResponseHead, body: &[u8]) -> Result<Self, ProxyError> {
        let json = serde_json::to_string(head).map_err(not_json)?;
        Ok(Self {
            status: head.status(),
            json: with_body(json, body),
        })
    }

    /// The status that the caller gets.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The JSON that a Function URL takes.
    pub fn into_json(self) -> String {
        self.json
    }
}

/// The error for what cannot be serialized.
pub fn not_json(error: serde_json::Error) -> ProxyError {
    ProxyError::Internal(format!("the response is not JSON: {error}"))
}

/// The error for a response that the service would not take.
pub fn too_large(size: &str) -> ProxyError {
    ProxyError::TargetUnreachable(format!(
        "the target's response is too large for a BUFFERED Function URL: {size}, and the service takes {BUFFERED_LIMIT}; \
         the invoke mode RESPONSE_STREAM takes more"
    ))
}

/// Leaves one length or none: beside a transfer coding an intermediary must remove it (RFC 9112 section 6.3), and one
/// that came several times is one (RFC 9110 section 8.6; hyper refuses those that differ).
fn frame_anew(headers: &mut HeaderMap) {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    let Some(length) = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
    else {
        return;
    };
    let one = length.split(',').next().unwrap_or_default().trim().to_owned();
    if let Ok(one) = HeaderValue::try_from(one) {
        headers.insert(header::CONTENT_LENGTH, one);
    }
}

fn as_object<S: Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (name, value) in pairs {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::{Engine, prelude::BASE64_STANDARD};
    use serde_json::{Value, json};

    use super::*;

    fn answer(headers: &[(&str, &[u8])], body: &[u8]) -> Result<Value, ProxyError> {
        let mut response = http::Response::builder().status(207);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let (parts, ()) = response.body(()).unwrap().into_parts();
        Response::from_target(parts, body).map(value)
    }

    fn value(response: Response) -> Value {
        serde_json::from_str(&response.into_json()).unwrap()
    }

    #[test]
    fn text_stays_text_and_bytes_become_base64() {
        let text = answer(&[], "grüße\n".as_bytes()).unwrap();
        assert_eq!(
            (text["body"].as_str(), text["isBase64Encoded"].as_bool()),
            (Some("grüße\n"), Some(false))
        );
        for bytes in [&[0xff, 0xfe][..], &[0; 32]] {
            let binary = answer(&[], bytes).unwrap();
            assert_eq!(binary["isBase64Encoded"], true);
            assert_eq!(BASE64_STANDARD.decode(binary["body"].as_str().unwrap()).unwrap(), bytes);
        }
    }

    #[test]
    fn repeated_headers_are_joined_and_cookies_are_kept_apart() {
        let headers: [(&str, &[u8]); 5] = [
            ("x-a", b"1"),
            ("set-cookie", b"a=1; Path=/"),
            ("x-a", b"2"),
            ("set-cookie", b"b=2"),
            ("x-u", b"caf\xe9"),
        ];
        let answer = answer(&headers, b"").unwrap();
        assert_eq!(answer["statusCode"], 207);
        assert_eq!(answer["headers"], json!({"x-a": "1, 2", "x-u": "café"}));
        assert_eq!(answer["cookies"], json!(["a=1; Path=/", "b=2"]));
    }

    #[test]
    fn hop_by_hop_headers_remapped_ones_and_forged_errors_stop_here() {
        let headers: [(&str, &[u8]); 6] = [
            ("ts-error-name", b"TargetTimeout"),
            ("ts-error-message", b"forged"),
            ("connection", b"x-own"),
            ("x-own", b"1"),
            ("transfer-encoding", b"chunked"),
            ("x-amzn-remapped-date", b"now"),
        ];
        assert_eq!(answer(&headers, b"").unwrap()["headers"], json!({}));
    }

    #[test]
    fn a_response_has_one_length_and_none_beside_a_transfer_coding() {
        let length =
            |headers: &[(&str, &[u8])]| answer(headers, b"hello").unwrap()["headers"]["content-length"].clone();
        assert_eq!(length(&[("content-length", b"5"), ("content-length", b"5")]), "5");
        assert_eq!(length(&[("content-length", b"5, 5")]), "5");
        assert_eq!(
            length(&[("content-length", b"100"), ("transfer-encoding", b"chunked")]),
            Value::Null
        );
        assert_eq!(
            length(&[("transfer-encoding", b"gzip, chunked"), ("content-length", b"5")]),
            Value::Null
        );
    }

    #[test]
    fn when_to_try_again_is_told_in_whole_seconds_where_it_is_known() {
        let retry_after = |retry_after| {
            let error = ProxyError::TailnetUnavailable {
                message: "m".into(),
                retry_after,
            };
            value(Response::from_error(&error, Sent::No).unwrap())["headers"]["retry-after"].clone()
        };
        assert_eq!(retry_after(Some(std::time::Duration::from_millis(1001))), "2");
        assert_eq!(retry_after(Some(std::time::Duration::ZERO)), "0");
        assert_eq!(retry_after(None), Value::Null);
    }

    #[test]
    fn an_answer_over_the_limit_is_an_error_that_names_the_other_mode() {
        let room = BUFFERED_LIMIT - r#"{"statusCode":207,"headers":{},"body":"","isBase64Encoded":false}"#.len();
        assert!(answer(&[], &vec![b'a'; room]).is_ok());
        let message = answer(&[], &vec![b'a'; room + 1]).unwrap_err().to_string();
        assert!(message.contains("RESPONSE_STREAM"), "{message}");
        assert!(answer(&[], &vec![0xff; room / 4 * 3 + 6]).is_err());
    }

    #[test]
    fn the_proxys_own_errors_are_marked() {
        let error = ProxyError::TargetUnreachable("no such thing:\n'ü'".into());
        let answer = value(Response::from_error(&error, Sent::Unknown).unwrap());
        assert_eq!(answer["statusCode"], 502);
        assert_eq!(answer["headers"]["ts-error-name"], "TargetUnreachable");
        assert_eq!(answer["headers"]["ts-error-message"], "no such thing:?'?'");
        assert_eq!(answer["headers"]["ts-error-sent"], "unknown");
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(
            body,
            json!({"error": "TargetUnreachable", "message": "no such thing:\n'ü'"})
        );
    }
}
