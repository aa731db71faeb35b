//! Status, headers and cookies of an answer: the same in a buffered answer's JSON and in a streamed one's prelude.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};

use super::errors::ServiceError;

/// Headers that the service sends under another name. Report: `www-authenticate`, `date` and `connection` are seen with
/// Function URLs (in the tests of adapters that turn them back); the rest of the hop-by-hop ones is a guess, after the list
/// for API Gateway: <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html>.
const REMAPPED: [&str; 8] = [
    "connection",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "te",
    "trailer",
    "upgrade",
    "www-authenticate",
];
const REMAPPED_PREFIX: &str = "x-amzn-remapped-";
/// What an answer without a content type gets (doc, for answers that are all JSON; guess for the others).
const DEFAULT_TYPE: HeaderValue = HeaderValue::from_static("application/json");

/// The head of an answer, as it goes to the caller.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// What the function claims as the body's length; the true one is the server's to say.
    pub(crate) content_length: Option<u64>,
}

/// Why a function's answer is no answer. Guess, for each: a 502, as documented for API Gateway.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the answer is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("`{field}` is {found}, but must be {expected}")]
    Field {
        field: &'static str,
        found: String,
        expected: &'static str,
    },
    #[error("the header `{0}` is not one that HTTP allows")]
    Header(String),
    #[error("the header `{0}` is the service's own")]
    Reserved(String),
    #[error("`isBase64Encoded` is true, but the body is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("the prelude has no end within {0} bytes, or ended before it")]
    Prelude(usize),
}

impl From<&Malformed> for ServiceError {
    fn from(malformed: &Malformed) -> Self {
        match malformed {
            Malformed::Reserved(_) => Self::reserved_header(),
            _ => Self::bad_gateway(),
        }
    }
}

impl ResponseHead {
    /// An answer that says nothing of its head.
    pub(crate) fn plain(content_type: HeaderValue) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
        Self {
            status: StatusCode::OK,
            headers,
            content_length: None,
        }
    }

    /// Reads `statusCode`, `headers` and `cookies`
    /// (doc: <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-response-payload>).
    pub(crate) fn read(fields: &Map<String, Value>) -> Result<Self, Malformed> {
        let status = match fields.get("statusCode") {
            None | Some(Value::Null) => StatusCode::OK,
            Some(value) => status(value)?,
        };
        let mut head = Self {
            status,
            headers: HeaderMap::new(),
            content_length: None,
        };
        match fields.get("headers") {
            None | Some(Value::Null) => {}
            Some(Value::Object(headers)) => {
                for (name, value) in headers {
                    head.add(name, value)?;
                }
            }
            Some(other) => return Err(unexpected("headers", other, "an object")),
        }
        match fields.get("cookies") {
            None | Some(Value::Null) => {}
            Some(Value::Array(cookies)) => {
                for cookie in cookies {
                    let text = cookie
                        .as_str()
                        .ok_or_else(|| unexpected("cookies", cookie, "a list of strings"))?;
                    head.headers.append(SET_COOKIE, header_value("set-cookie", text)?);
                }
            }
            Some(other) => return Err(unexpected("cookies", other, "a list of strings")),
        }
        head.headers.entry(CONTENT_TYPE).or_insert(DEFAULT_TYPE);
        Ok(head)
    }

    fn add(&mut self, name: &str, value: &Value) -> Result<(), Malformed> {
        let text = match value {
            Value::String(text) => text.clone(),
            // Guess: as API Gateway does it.
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null => return Ok(()),
            other => return Err(unexpected("headers", other, "an object of strings")),
        };
        let lowercase = name.to_ascii_lowercase();
        let header = HeaderName::from_bytes(lowercase.as_bytes()).map_err(|_| Malformed::Header(name.to_owned()))?;
        let value = header_value(name, &text)?;
        if lowercase.starts_with(REMAPPED_PREFIX) {
            return Err(Malformed::Reserved(lowercase));
        }
        if header == CONTENT_LENGTH {
            self.content_length = text.trim().parse().ok();
        } else if header == TRANSFER_ENCODING {
            // The framing is the server's.
        } else if REMAPPED.contains(&lowercase.as_str()) {
            self.headers.insert(remapped(&lowercase), value);
        } else {
            self.headers.insert(header, value);
        }
        Ok(())
    }
}

/// The name under which the service sends a header that it does not let through.
fn remapped(name: &str) -> HeaderName {
    HeaderName::from_bytes(format!("{REMAPPED_PREFIX}{name}").as_bytes())
        .expect("BUG: a header name with a prefix of letters is a header name")
}

/// Report (`"418"` is taken, `test_lambda_url_headers_and_status` of LocalStack's tests, validated against the service).
fn status(value: &Value) -> Result<StatusCode, Malformed> {
    let code = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    // 1xx announces an answer, and is none.
    code.and_then(|code| u16::try_from(code).ok())
        .and_then(|code| StatusCode::from_u16(code).ok())
        .filter(|status| !status.is_informational())
        .ok_or_else(|| unexpected("statusCode", value, "an integer from 200 to 999"))
}

fn header_value(name: &str, text: &str) -> Result<HeaderValue, Malformed> {
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(text.as_bytes()))
        .map_err(|_| Malformed::Header(name.to_owned()))
}

/// `found` shows the kind of value only: what a function answers is its caller's business, not the log's.
pub(crate) fn unexpected(field: &'static str, found: &Value, expected: &'static str) -> Malformed {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    Malformed::Field { field, found, expected }
}
