//! Why a request gets no response of the target's, and how that is told.

use std::error::Error;

use http::{HeaderValue, Response, StatusCode, header};
use tailnet::intermediary::header_text;

use crate::body::{Body, whole};

/// Whether the target may have seen the request, as `ts-error-sent` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Certainly not.
    No,
    /// It is not known.
    Unknown,
}

/// Why a request gets no response of the target's. The messages are for the developer of the function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request cannot be sent on: the code must change.
    #[error("{0}")]
    InvalidRequest(String),
    /// The request asks for a tunnel into the tailnet, which the proxy has not.
    #[error("{0}")]
    TunnelRefused(String),
    /// The body is larger than Lambda takes.
    #[error("{0}")]
    RequestTooLarge(String),
    /// AWS rejected the signature or the caller: a grant is missing.
    #[error("{0}")]
    CallerNotAllowed(String),
    /// The proxy's function failed, or gave what is no response.
    #[error("{0}")]
    ProxyFailed(String),
    /// Neither the tailnet's proxy nor another server can be reached.
    #[error("{message}")]
    Unreachable {
        /// What happened.
        message: String,
        /// Whether the target may have seen the request.
        sent: Sent,
    },
}

impl CallError {
    /// The status, and the value of `ts-error-name`.
    pub fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "InvalidRequest"),
            Self::TunnelRefused(_) => (StatusCode::METHOD_NOT_ALLOWED, "InvalidRequest"),
            Self::RequestTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLarge"),
            Self::CallerNotAllowed(_) => (StatusCode::FORBIDDEN, "CallerNotAllowed"),
            Self::ProxyFailed(_) => (StatusCode::BAD_GATEWAY, "ProxyFailed"),
            Self::Unreachable { .. } => (StatusCode::BAD_GATEWAY, "ProxyUnreachable"),
        }
    }

    fn sent(&self) -> &'static str {
        match self {
            Self::ProxyFailed(_)
            | Self::Unreachable {
                sent: Sent::Unknown, ..
            } => "unknown",
            _ => "no",
        }
    }

    /// The response that the function's HTTP client gets: as the tailnet's proxy itself responds.
    pub(crate) fn response(&self) -> Response<Body> {
        let (status, name) = self.code();
        let message = self.to_string();
        let json = serde_json::json!({"error": name, "message": message}).to_string();
        let mut response = Response::new(whole(json));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("ts-error-name", HeaderValue::from_static(name));
        let text = HeaderValue::try_from(header_text(&message)).unwrap_or(HeaderValue::from_static(""));
        headers.insert("ts-error-message", text);
        headers.insert("ts-error-sent", HeaderValue::from_static(self.sent()));
        response
    }
}

/// What to say where no credentials can be had: why, and what to do. In a function they are always there: the words are for
/// the user of a machine.
pub fn no_credentials(error: &dyn Error) -> String {
    format!(
        "there are no AWS credentials to sign with: log in (aws sso login), name a profile that has some, or set \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. The AWS SDK says: {}",
        with_causes(error)
    )
}

/// An error with all that caused it. Wrapped errors may repeat what they wrap; each text is said once.
pub fn with_causes(error: &dyn Error) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let mut texts: Vec<String> = chain.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn an_error_is_told_with_its_causes_and_a_repeated_text_once() {
        let cause = Layer("no such profile", None);
        let error = Layer("not loaded", Some(Layer("not loaded", Some(cause.into())).into()));
        assert_eq!(with_causes(&error), "not loaded: no such profile");
    }
}
