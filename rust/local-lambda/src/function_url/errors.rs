//! The answers that the service makes by itself, in its own words.

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::limits;
use crate::invocation::InvokeError;

/// A request that the service answers without, or instead of, the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceError {
    pub(crate) status: StatusCode,
    /// The value of `x-amzn-errortype`, where the service sends one.
    pub(crate) error_type: Option<&'static str>,
    pub(crate) body: Bytes,
}

impl ServiceError {
    pub(crate) fn json(status: StatusCode, error_type: &'static str, body: serde_json::Value) -> Self {
        Self {
            status,
            error_type: Some(error_type),
            body: Bytes::from(body.to_string()),
        }
    }

    /// No signature at all. Report: <https://github.com/awsdocs/aws-lambda-developer-guide/issues/494> (the same answer
    /// as to a caller without permission; before 2026 the message was the bare word "Forbidden").
    pub(crate) fn forbidden() -> Self {
        let message = "Forbidden. For troubleshooting Function URL authorization issues, see: \
                       https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html";
        Self::json(
            StatusCode::FORBIDDEN,
            "AccessDeniedException",
            json!({ "Message": message }),
        )
    }

    /// A key that nobody has, or a session token that does not belong to it. Report (text and status):
    /// <https://github.com/jamesmbourne/aws4-axios/issues/1553>; the type is that of Lambda's own API (report).
    pub(crate) fn unrecognized_client() -> Self {
        let message = "The security token included in the request is invalid.";
        Self::json(
            StatusCode::FORBIDDEN,
            "UnrecognizedClientException",
            json!({ "message": message }),
        )
    }

    /// A signature that is not what it should be: another's, expired, or for another scope.
    /// Report (shape, type and status): <https://github.com/erlcloud/erlcloud/issues/690>,
    /// <https://github.com/RJPearson94/terraform-aws-open-next/pull/48>.
    pub(crate) fn invalid_signature(message: &str) -> Self {
        Self::json(
            StatusCode::FORBIDDEN,
            "InvalidSignatureException",
            json!({ "message": message }),
        )
    }

    /// An `authorization` header that lacks parts. Doc (code and meaning): "Common errors" of Lambda's API; the message,
    /// which on the service names the part, is a guess.
    pub(crate) fn incomplete_signature() -> Self {
        let message = "The signature needs Credential (id/date/region/service/aws4_request), SignedHeaders and Signature \
                       in Authorization, and X-Amz-Date (YYYYMMDD'T'HHMMSS'Z').";
        Self::json(
            StatusCode::FORBIDDEN,
            "IncompleteSignatureException",
            json!({ "message": message }),
        )
    }

    /// The event would be over 6 MB. The status and type are those of Lambda's Invoke API (doc), and so are the words
    /// (report, see [`limits::EVENT_BYTES`]); what a Function URL's body says is a guess.
    pub(crate) fn request_too_large() -> Self {
        let limit = limits::EVENT_BYTES;
        let message = format!("Request must be smaller than {limit} bytes for the InvokeFunction operation");
        Self::json(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLargeException",
            json!({ "message": message }),
        )
    }

    /// The client did not finish its request, or its framing is broken. Guess: no document or report gives the service's
    /// answer.
    pub(crate) fn request_incomplete() -> Self {
        let message = "The request's body did not arrive in full.";
        Self::json(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeoutException",
            json!({ "message": message }),
        )
    }

    /// All environments are busy. The concurrency of one function is bounded here, which on the service is reserved
    /// concurrency. Doc (type, reason): <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>; the body's
    /// form is a report of what Lambda's HTTP front answers.
    pub(crate) fn throttled() -> Self {
        let body = json!({
            "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
            "Type": "User",
            "message": "Rate Exceeded."
        });
        Self::json(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", body)
    }

    /// The function failed, timed out, or answered what is no answer. Recorded (status and the plain words):
    /// LocalStack's tests, validated against the service (`test_lambda_url_invocation_exception`).
    pub(crate) fn bad_gateway() -> Self {
        let body = Bytes::from_static(b"Internal Server Error");
        Self {
            status: StatusCode::BAD_GATEWAY,
            error_type: None,
            body,
        }
    }

    /// The function's answer carries a header that only the service may set. Report: a 500; its body is a guess.
    pub(crate) fn reserved_header() -> Self {
        let body = Bytes::from_static(b"Internal Server Error");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            error_type: None,
            body,
        }
    }
}

impl From<&InvokeError> for ServiceError {
    fn from(error: &InvokeError) -> Self {
        match error {
            InvokeError::Throttled => Self::throttled(),
            InvokeError::Function { .. } | InvokeError::ResponseTooLarge => Self::bad_gateway(),
        }
    }
}
