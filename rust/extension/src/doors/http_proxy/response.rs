//! The proxy's own responses, which name the error in `ts-error-name` and `ts-error-message`, as the Lambda proxy's do.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;

use crate::doors::outbound::Refusal;

/// A body of a target's, or of our own.
pub(crate) type Body = Either<Incoming, Full<Bytes>>;

/// An error that a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProxyError {
    pub(crate) status: StatusCode,
    pub(crate) name: &'static str,
    pub(crate) message: String,
}

impl ProxyError {
    pub(crate) fn invalid_request(message: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            name: "InvalidRequest",
            message,
        }
    }

    /// The connection to the target broke before its response was there.
    pub(crate) fn broken(message: String) -> Self {
        Self {
            status: StatusCode::BAD_GATEWAY,
            name: "TargetUnreachable",
            message,
        }
    }

    pub(crate) fn too_many_connections() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            name: "TooManyConnections",
            message: "the extension serves as many connections as it can; fix: close some, or use fewer at a time"
                .to_owned(),
        }
    }
}

impl From<Refusal> for ProxyError {
    fn from(refusal: Refusal) -> Self {
        let (status, name) = match refusal {
            Refusal::NotAllowed(_) => (StatusCode::FORBIDDEN, "TargetNotAllowed"),
            Refusal::UnknownName(_) | Refusal::Refused(_) => (StatusCode::BAD_GATEWAY, "TargetUnreachable"),
            Refusal::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "TailnetUnavailable"),
            Refusal::TimedOut(_) => (StatusCode::GATEWAY_TIMEOUT, "TargetTimeout"),
        };
        Self {
            status,
            name,
            message: refusal.to_string(),
        }
    }
}

impl From<ProxyError> for Response<Body> {
    fn from(error: ProxyError) -> Self {
        let ProxyError { status, name, message } = error;
        let body = serde_json::json!({"error": name, "message": message}).to_string();
        let mut response = Response::new(Either::Right(Full::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("ts-error-name", HeaderValue::from_static(name));
        headers.insert("ts-error-message", visible(&message));
        response
    }
}

/// The text as a header value: what is not visible ASCII becomes a question mark.
fn visible(text: &str) -> HeaderValue {
    let shown = |character: char| if matches!(character, ' '..='~') { character } else { '?' };
    HeaderValue::try_from(text.chars().map(shown).collect::<String>()).expect("BUG: visible ASCII is a header value")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_refusal_has_its_status_and_name() {
        let why = || "why".to_owned();
        for (refusal, status, name) in [
            (Refusal::NotAllowed(why()), 403, "TargetNotAllowed"),
            (Refusal::UnknownName(why()), 502, "TargetUnreachable"),
            (Refusal::Refused(why()), 502, "TargetUnreachable"),
            (Refusal::Unavailable(why()), 503, "TailnetUnavailable"),
            (Refusal::TimedOut(Duration::from_secs(5)), 504, "TargetTimeout"),
        ] {
            let response = Response::<Body>::from(ProxyError::from(refusal));
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["ts-error-name"], name);
        }
        let odd = Response::<Body>::from(ProxyError::broken("a\nü".to_owned()));
        assert_eq!(odd.headers()["ts-error-message"], "a??");
    }
}
