//! Lambda's Invoke API in front of the function: for callers that use an AWS SDK, and not the function's URL.
//!
//! Doc: <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>. There are no versions here: an alias is a name
//! that function.json lists. An `Event` invocation runs once, at once: the service would queue it, and try it again.
//! Neither a client context nor a log's tail (`x-amz-log-type`) is passed on, and there is no dry run.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::config;
use crate::function_url::Settings;
use crate::function_url::authenticator::Authenticator;
use crate::function_url::errors::ServiceError;
use crate::function_url::exchange::{REQUEST_ID, full, own_answer};
use crate::function_url::outgoing::FlushCounter;
use crate::function_url::serve::{AnswerBody, Front, serve_front};
use crate::invocation::{ANSWER_BYTES, Answer, Function, Invocation, InvokeError};
use crate::trace;

const INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-amz-invocation-type");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");

/// The name of the version that is not published; no other is here.
const LATEST: &str = "$LATEST";

/// Serves the API until `stop`, as [`crate::function_url::serve()`] does the URL; the settings' callers may invoke.
pub async fn serve<F: Function>(
    listener: TcpListener,
    settings: Settings,
    function: Arc<F>,
    stop: impl Future<Output = ()>,
) {
    let authenticator = Authenticator::new(settings, function);
    serve_front(listener, InvokeFront { authenticator }, stop).await;
}

/// The function, under its name.
struct InvokeFront<F> {
    authenticator: Authenticator<F>,
}

impl<F: Function> InvokeFront<F> {
    async fn run(&self, request: Request<Incoming>, request_id: &str) -> Result<Response<AnswerBody>, ServiceError> {
        let (parts, body) = request.into_parts();
        let (_, payload) = self.authenticator.admit(&parts, body).await?;
        let qualifier = qualifier(&self.authenticator.settings.function, &parts)?;
        let waits = waits(&parts)?;
        let invocation = Invocation {
            request_id: request_id.to_owned(),
            trace_root: trace::new_root(SystemTime::now()),
            qualifier,
            payload,
        };
        if !waits {
            drop(self.authenticator.begin(invocation));
            let mut response = Response::new(full(Bytes::new()));
            *response.status_mut() = StatusCode::ACCEPTED;
            return Ok(response);
        }
        let answer = match self.authenticator.invoke(invocation).await {
            Ok(answer) => whole(answer).await,
            Err(error) => Err(error),
        };
        answered(answer)
    }
}

impl<F: Function> Front for InvokeFront<F> {
    async fn answer(&self, request: Request<Incoming>, _: IpAddr, _: Arc<FlushCounter>) -> Response<AnswerBody> {
        let request_id = Uuid::new_v4().to_string();
        let outcome = self.run(request, &request_id).await;
        let mut response = outcome.unwrap_or_else(own_answer);
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        tracing::info!(%request_id, status = response.status().as_u16(), "an invocation through the API was answered");
        response
    }
}

/// Whether the caller waits for the answer.
fn waits(parts: &Parts) -> Result<bool, ServiceError> {
    match parts.headers.get(INVOCATION_TYPE).map(HeaderValue::as_bytes) {
        None | Some(b"RequestResponse") => Ok(true),
        Some(b"Event") => Ok(false),
        Some(_) => {
            let message = "X-Amz-Invocation-Type must be RequestResponse or Event";
            Err(user_error(
                StatusCode::BAD_REQUEST,
                "InvalidParameterValueException",
                message,
            ))
        }
    }
}

/// The qualifier in the request, which must be `POST /2015-03-31/functions/{FunctionName}/invocations` for this function.
/// The name may be an ARN, and a qualifier be at its end or in the query.
fn qualifier(function: &config::Function, parts: &Parts) -> Result<Option<String>, ServiceError> {
    let segments: Vec<&str> = parts.uri.path().split('/').collect();
    let (&Method::POST, ["", "2015-03-31", "functions", name, "invocations"]) = (&parts.method, segments.as_slice())
    else {
        let message = "there is POST /2015-03-31/functions/{FunctionName}/invocations";
        return Err(user_error(StatusCode::NOT_FOUND, "UnknownOperationException", message));
    };
    let name = percent_decode_str(name).decode_utf8_lossy();
    let query = parts.uri.query().unwrap_or_default();
    let in_query = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "Qualifier");
    let arn = function.arn();
    let rest = [arn.as_str(), &function.function_name]
        .iter()
        .find_map(|known| name.strip_prefix(known));
    let meant = match (rest, &in_query) {
        (Some(""), None) => return Ok(None),
        (Some(""), Some((_, qualifier))) => Some(&**qualifier),
        (Some(rest), None) => rest.strip_prefix(':'),
        _ => None,
    };
    let known = |qualifier: &&str| *qualifier == LATEST || function.aliases.iter().any(|alias| alias == qualifier);
    match meant.filter(known) {
        Some(qualifier) => Ok(Some(qualifier.to_owned())),
        None => {
            let message = format!("Function not found: {}", parts.uri);
            Err(user_error(StatusCode::NOT_FOUND, "ResourceNotFoundException", &message))
        }
    }
}

/// The whole of an answer, streamed or not.
async fn whole(answer: Answer) -> Result<Bytes, InvokeError> {
    let mut streaming = match answer {
        Answer::Buffered(payload) => return Ok(payload),
        Answer::Streaming(streaming) => streaming,
    };
    let mut gathered = BytesMut::new();
    while let Some(bytes) = streaming.body.recv().await {
        let bytes = bytes.map_err(|broken| InvokeError::Function {
            error_type: "Function.ResponseStreamBroken".into(),
            message: broken.to_string(),
        })?;
        gathered.extend_from_slice(&bytes);
        if gathered.len() > ANSWER_BYTES {
            return Err(InvokeError::ResponseTooLarge);
        }
    }
    Ok(gathered.freeze())
}

/// A failure of the function is a 200 as well: a header tells.
fn answered(answer: Result<Bytes, InvokeError>) -> Result<Response<AnswerBody>, ServiceError> {
    let (payload, failed) = match answer {
        Ok(payload) => (payload, false),
        Err(InvokeError::Throttled) => return Err(ServiceError::throttled()),
        Err(InvokeError::Function { error_type, message }) => (function_error(&error_type, &message), true),
        Err(error @ InvokeError::ResponseTooLarge) => (
            function_error("Function.ResponseSizeTooLarge", &error.to_string()),
            true,
        ),
    };
    let mut response = Response::new(full(payload));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(EXECUTED_VERSION, HeaderValue::from_static(LATEST));
    if failed {
        headers.insert(FUNCTION_ERROR, HeaderValue::from_static("Unhandled"));
    }
    Ok(response)
}

fn function_error(error_type: &str, message: &str) -> Bytes {
    json!({ "errorType": error_type, "errorMessage": message })
        .to_string()
        .into()
}

/// An error that the caller made, in the form that Lambda's API gives it.
fn user_error(status: StatusCode, error_type: &'static str, message: &str) -> ServiceError {
    ServiceError::json(status, error_type, json!({ "Type": "User", "Message": message }))
}
