//! Requests and answers, for a person to read.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::http_call::header;

/// What a step did, for a person to read, and whether it was right.
#[derive(Debug)]
pub struct Report {
    /// What was sent: the request line, then headers or remarks.
    pub request: Vec<String>,
    /// What came back: the status, then headers, the body's beginning, or remarks.
    pub answer: Vec<String>,
    /// How long the answer took, if that is of interest.
    pub took: Option<Duration>,
    /// What is right about it, or what is wrong.
    pub verdict: Result<String, String>,
}

/// An error that holds what the answer says of itself, if it has another status.
pub(super) fn expect_status(answer: &Response<Bytes>, expected: StatusCode) -> Result<(), String> {
    if answer.status() == expected {
        return Ok(());
    }
    let body: String = String::from_utf8_lossy(answer.body()).chars().take(400).collect();
    let said = ["ts-error-name", "ts-error-message"]
        .map(|name| header(answer.headers(), name))
        .join(": ");
    Err(format!(
        "the status is {}, and not {expected}; {said} {body}",
        answer.status()
    ))
}

/// The request line, the headers, and the size of the body.
pub(super) fn show_request(request: &Request<Bytes>) -> Vec<String> {
    let mut lines = vec![format!("{} {}", request.method(), request.uri())];
    let headers = request.headers().iter().filter(|(name, _)| *name != "host");
    lines.extend(headers.map(|(name, value)| format!("{:<18}{}", name.as_str(), value.to_str().unwrap_or("?"))));
    if !request.body().is_empty() {
        lines.push(format!("{} bytes", request.body().len()));
    }
    lines
}

/// The status, the headers that are named, and the beginning of the body.
pub(super) fn show_answer(answer: &Response<Bytes>, headers: &[&str]) -> Vec<String> {
    const BODY_LINES: usize = 5;
    let mut lines = vec![answer.status().to_string()];
    for name in headers {
        if let Some(value) = answer.headers().get(*name) {
            lines.push(format!("{name:<18}{}", String::from_utf8_lossy(value.as_bytes())));
        }
    }
    let text = String::from_utf8_lossy(answer.body());
    lines.extend(text.lines().take(BODY_LINES).map(str::to_owned));
    match text.lines().count().saturating_sub(BODY_LINES) {
        0 => {}
        hidden => lines.push(format!("... {hidden} more lines")),
    }
    lines
}
