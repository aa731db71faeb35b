//! The proxy's response, as the target gave it; and AWS's own refusals in words that say what to do.

use http::{HeaderValue, Method, Response, StatusCode, response::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tailnet::intermediary::remove_hop_by_hop;

use crate::{body::Body, error::CallError, headers::restore_remapped};

/// The header by which AWS names its own errors.
const ERROR_TYPE: &str = "x-amzn-errortype";
/// The errors with which AWS rejects a caller or a signature, before the function runs.
const REJECTIONS: [&str; 6] = [
    "AccessDeniedException",
    "ExpiredTokenException",
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
    /// What grants them in the stack.
    pub(crate) grant: &'a str,
}

/// Restores a response; or says why AWS gave none of the function's.
pub(crate) async fn restore(
    response: Response<Incoming>,
    method: &Method,
    call: &Call<'_>,
) -> Result<Response<Body>, CallError> {
    let response = admitted(response, call).await?;
    let (mut head, body) = response.into_parts();
    let has_body = has_body(method, head.status);
    let throttled = is_throttled(&head);
    remove_hop_by_hop(&mut head.headers);
    restore_remapped(&mut head.headers, has_body);
    if throttled {
        mark_throttled(&mut head);
    }
    Ok(Response::from_parts(head, body.boxed_unsync()))
}

/// Whether a response may have a body, so that its length is that of the body.
pub(crate) fn has_body(method: &Method, status: StatusCode) -> bool {
    method != Method::HEAD && status != StatusCode::NOT_MODIFIED
}

/// Whether AWS had no environment for the request.
pub(crate) fn is_throttled(head: &Parts) -> bool {
    head.status == StatusCode::TOO_MANY_REQUESTS && error_type(head).is_some()
}

/// Says so in the form of the proxy's own errors.
pub(crate) fn mark_throttled(head: &mut Parts) {
    let marks = [
        ("ts-error-name", "TooManyRequests"),
        ("ts-error-sent", "no"),
        ("ts-error-message", THROTTLED),
    ];
    for (name, value) in marks {
        head.headers.insert(name, HeaderValue::from_static(value));
    }
}

/// A response that is no rejection of AWS's own: neither of the caller, nor of the request's size.
pub(crate) async fn admitted(response: Response<Incoming>, call: &Call<'_>) -> Result<Response<Incoming>, CallError> {
    let (head, body) = response.into_parts();
    match (head.status, error_type(&head)) {
        (StatusCode::FORBIDDEN, Some(rejection)) if REJECTIONS.contains(&rejection.as_str()) => {
            Err(rejected(&rejection, &words(body).await, call))
        }
        (StatusCode::PAYLOAD_TOO_LARGE, Some(_)) => Err(CallError::RequestTooLarge(format!(
            "AWS rejected the request: it is larger than Lambda's 6 MB, base64 included: send it in parts ({})",
            words(body).await
        ))),
        _ => Ok(Response::from_parts(head, body)),
    }
}

const THROTTLED: &str =
    "AWS had no environment of the proxy's function for the request: raise its concurrency, or retry later";

/// The name of AWS's error, without the namespace that some services put behind it.
pub(crate) fn error_type(head: &Parts) -> Option<String> {
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
            "the role of {who} lacks {} for {}: call {} in the stack",
            call.permissions, call.called, call.grant
        ),
        "ExpiredTokenException" | "UnrecognizedClientException" => {
            format!("AWS does not know the credentials of {who}: they have expired, or are of another partition")
        }
        _ => format!("AWS rejected the signature of {who} for {}", call.called),
    };
    CallError::CallerNotAllowed(format!("{remedy} (AWS said {error_type}: {words})"))
}

/// AWS's message, or a failed function's, where it is JSON with one; else all that it said.
pub(crate) async fn words(body: Incoming) -> String {
    let Ok(body) = Limited::new(body, WORDS_LIMIT).collect().await else {
        return "nothing that could be read".to_owned();
    };
    let bytes = body.to_bytes();
    let json: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let mut names = ["message", "Message", "errorMessage"].iter();
    let message = json.as_ref().and_then(|json| names.find_map(|name| json.get(name)));
    match message.and_then(serde_json::Value::as_str) {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(&bytes).trim().to_owned(),
    }
}
