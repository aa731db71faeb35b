//! The proxy's response, as the target gave it; and AWS's own refusals in words that say what to do.

use http::{HeaderValue, Method, Response, StatusCode, response::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tailnet::intermediary::remove_hop_by_hop;

use crate::{body::Body, error::CallError, headers::restore_remapped};

/// The header by which AWS names its own errors.
const ERROR_TYPE: &str = "x-amzn-errortype";
/// The errors with which AWS rejects a caller or a signature, before the function runs.
const REJECTIONS: [&str; 5] = [
    "AccessDeniedException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
];
/// The most that is read of AWS's own words.
const WORDS_LIMIT: usize = 16 * 1024;

/// Who called what: for the words of a refusal.
pub(crate) struct Call<'a> {
    /// The function's name, or empty.
    pub(crate) function: &'a str,
    /// What it called.
    pub(crate) called: &'a str,
    /// The permissions that this takes.
    pub(crate) permissions: &'a str,
}

/// Restores a response; or says why AWS gave none of the function's.
pub(crate) async fn restore(
    response: Response<Incoming>,
    method: &Method,
    call: &Call<'_>,
) -> Result<Response<Body>, CallError> {
    let (mut head, body) = response.into_parts();
    match (head.status, error_type(&head)) {
        (StatusCode::FORBIDDEN, Some(rejection)) if REJECTIONS.contains(&rejection.as_str()) => {
            Err(rejected(&rejection, &words(body).await, call))
        }
        (StatusCode::PAYLOAD_TOO_LARGE, Some(_)) => Err(CallError::RequestTooLarge(format!(
            "AWS rejected the request: it is larger than Lambda's 6 MB, base64 included: send it in parts ({})",
            words(body).await
        ))),
        (status, error_type) => {
            remove_hop_by_hop(&mut head.headers);
            let has_body = method != Method::HEAD && status != StatusCode::NOT_MODIFIED;
            restore_remapped(&mut head.headers, has_body);
            if status == StatusCode::TOO_MANY_REQUESTS && error_type.is_some() {
                head.headers
                    .insert("ts-error-name", HeaderValue::from_static("TooManyRequests"));
                head.headers.insert("ts-error-sent", HeaderValue::from_static("no"));
                head.headers
                    .insert("ts-error-message", HeaderValue::from_static(THROTTLED));
            }
            Ok(Response::from_parts(head, body.boxed_unsync()))
        }
    }
}

const THROTTLED: &str =
    "AWS had no environment of the proxy's function for the request: raise its concurrency, or retry later";

/// The name of AWS's error, without the namespace that some services put behind it.
fn error_type(head: &Parts) -> Option<String> {
    let text = head.headers.get(ERROR_TYPE)?.to_str().ok()?;
    text.split([':', ',']).next().map(str::to_owned)
}

fn rejected(error_type: &str, words: &str, call: &Call<'_>) -> CallError {
    let who = match call.function {
        "" => "the caller".to_owned(),
        function => format!("the function {function}"),
    };
    let remedy = match error_type {
        "AccessDeniedException" => format!(
            "the role of {who} lacks {} for {}: call proxy.addCaller(fn) or proxy.grantInvokeUrl(role) in the stack",
            call.permissions, call.called
        ),
        "UnrecognizedClientException" => {
            format!("AWS does not know the credentials of {who}: they have expired, or are of another partition")
        }
        _ => format!("AWS rejected the signature of {who} for {}", call.called),
    };
    CallError::CallerNotAllowed(format!("{remedy} (AWS said {error_type}: {words})"))
}

/// AWS's message, where it is JSON with one; else all that it said.
async fn words(body: Incoming) -> String {
    let Ok(body) = Limited::new(body, WORDS_LIMIT).collect().await else {
        return "nothing that could be read".to_owned();
    };
    let bytes = body.to_bytes();
    let json: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let message = json
        .as_ref()
        .and_then(|json| json.get("message").or_else(|| json.get("Message")));
    match message.and_then(serde_json::Value::as_str) {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(&bytes).trim().to_owned(),
    }
}
