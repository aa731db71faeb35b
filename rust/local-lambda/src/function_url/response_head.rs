//! Status, headers and cookies of an answer: the same in a buffered answer's JSON and in a streamed one's prelude.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::errors::ServiceError;
use super::limits::PRELUDE_BYTES;

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
    #[error("the answer is not the JSON that it must be: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the header `{0}` is the service's own")]
    Reserved(String),
    #[error("`statusCode` is {0}, but must be an integer from 200 to 999")]
    Status(Value),
    #[error("the header `{0}` is not one that HTTP allows")]
    Header(String),
    #[error("`isBase64Encoded` is true, but the body is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("the prelude has no end within {PRELUDE_BYTES} bytes, or ended before it")]
    Prelude,
}

/// What an answer may say of its head.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    status_code: Option<Value>,
    headers: Option<Map<String, Value>>,
    cookies: Option<Vec<String>>,
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
    pub(crate) fn read(json: &[u8]) -> Result<Self, Malformed> {
        let fields: Fields = serde_json::from_slice(json)?;
        let mut head = Self {
            status: fields.status_code.map_or(Ok(StatusCode::OK), status)?,
            headers: HeaderMap::new(),
            content_length: None,
        };
        for (name, value) in fields.headers.unwrap_or_default() {
            head.add(&name, &value)?;
        }
        for cookie in fields.cookies.unwrap_or_default() {
            head.headers.append(SET_COOKIE, header_value("set-cookie", &cookie)?);
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
            Value::Array(_) | Value::Object(_) => return Err(Malformed::Header(name.to_owned())),
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
fn status(value: Value) -> Result<StatusCode, Malformed> {
    let code = match &value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    // 1xx announces an answer, and is none.
    code.and_then(|code| u16::try_from(code).ok())
        .and_then(|code| StatusCode::from_u16(code).ok())
        .filter(|status| !status.is_informational())
        .ok_or(Malformed::Status(value))
}

fn header_value(name: &str, text: &str) -> Result<HeaderValue, Malformed> {
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(text.as_bytes()))
        .map_err(|_| Malformed::Header(name.to_owned()))
}
