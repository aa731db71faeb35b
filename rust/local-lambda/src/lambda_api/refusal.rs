//! How the API says no: a status, and `errorType` and `errorMessage` in a small JSON body.

use std::fmt::Debug;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::invocation::ANSWER_BYTES;

/// A refused call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal {
    #[serde(skip)]
    pub(crate) status: StatusCode,
    pub(crate) error_message: String,
    pub(crate) error_type: &'static str,
}

impl Refusal {
    fn new(status: StatusCode, error_type: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            error_type,
            error_message: message.into(),
        }
    }

    /// 403: the call is not allowed now, or not to this caller.
    pub(crate) fn forbidden(error_type: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, error_type, message)
    }

    /// 403: the runtime, or an extension, may not do this in its state.
    pub(crate) fn state(error_type: &'static str, state: impl Debug, what: &str) -> Self {
        Self::forbidden(error_type, format!("it may not {what}: it is {state:?}"))
    }

    /// 400: no invocation of this id is being handled.
    pub(crate) fn invalid_request_id() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
    }

    /// 400: the connection broke before the body's end.
    pub(crate) fn truncated() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "TruncatedHTTPRequest",
            "HTTP request detected as truncated",
        )
    }

    /// 413: more than 6 MB.
    pub(crate) fn too_large() -> Self {
        let message = format!("Exceeded maximum allowed payload size ({ANSWER_BYTES} bytes).");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 404.
    pub(crate) fn not_found(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            format!("There is no {path} in this API"),
        )
    }

    /// 500: a bug of ours.
    pub(crate) fn internal(message: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", message)
    }

    /// 500: the environment is ending; whoever asks is about to be killed.
    pub(crate) fn environment_ended() -> Self {
        Self::internal("The execution environment is shutting down")
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        super::json(self.status, &self)
    }
}
