//! The Runtime API: next, response (buffered and streamed), error.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Deserialize;

use super::calls::Call;
use super::{Answered, Api, Refusal, accepted, header_text, respond, stream};
use crate::invocation::{ANSWER_BYTES, InvokeError};

const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
/// Tells an invocation from another one with the same request id, so that a late response does not reach the wrong caller. A
/// runtime need not echo it. (<https://github.com/aws/aws-lambda-rust-runtime/pull/1159>)
const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// `GET /runtime/invocation/next`: a long poll.
pub(super) async fn next(api: &Api) -> Answered {
    let delivery = api.ask(Call::RuntimeNext).await?;
    let mut response = respond(StatusCode::OK, delivery.payload);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    insert(headers, "lambda-runtime-aws-request-id", &delivery.request_id)?;
    insert(headers, INVOCATION_ID, &invocation_id(&delivery.request_id))?;
    insert(headers, "lambda-runtime-deadline-ms", &delivery.deadline_ms.to_string())?;
    insert(headers, "lambda-runtime-invoked-function-arn", &delivery.function_arn)?;
    insert(headers, "lambda-runtime-trace-id", &delivery.trace_id)?;
    Ok(response)
}

/// No request id comes twice here, so that one follows from the other.
fn invocation_id(request_id: &str) -> String {
    format!("{request_id}-1")
}

fn check_invocation_id(id: &str, request: &Request<Incoming>) -> Result<(), Refusal> {
    match header_text(request, INVOCATION_ID) {
        Some(echoed) if echoed != invocation_id(id) => Err(Refusal::invalid_request_id()),
        _ => Ok(()),
    }
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), Refusal> {
    let value = HeaderValue::from_str(value).map_err(|error| Refusal::internal(&format!("{name}: {error}")))?;
    headers.insert(name, value);
    Ok(())
}

/// `POST /runtime/invocation/{id}/response`.
pub(super) async fn response(api: &Arc<Api>, id: &str, request: Request<Incoming>) -> Answered {
    check_invocation_id(id, &request)?;
    match header_text(&request, RESPONSE_MODE) {
        Some(mode) if mode.eq_ignore_ascii_case("streaming") => {
            stream::pass_on(api, id, request).await?;
            Ok(accepted())
        }
        _ => buffered(api, id, request).await,
    }
}

async fn buffered(api: &Api, id: &str, request: Request<Incoming>) -> Answered {
    let body = read(request).await?;
    let fits = body.is_some();
    post(api, id, body.ok_or(InvokeError::ResponseTooLarge)).await?;
    if fits {
        Ok(accepted())
    } else {
        Err(Refusal::too_large())
    }
}

/// `POST /runtime/invocation/{id}/error`: the function failed; the environment goes on.
pub(super) async fn error(api: &Api, id: &str, request: Request<Incoming>) -> Answered {
    check_invocation_id(id, &request)?;
    let error = failure(request).await?;
    post(api, id, Err(error)).await?;
    Ok(accepted())
}

async fn post(api: &Api, id: &str, answer: Result<Bytes, InvokeError>) -> Result<(), Refusal> {
    let id = id.to_owned();
    api.ask(|reply| Call::Response { id, answer, reply }).await
}

/// None of a body that is over the limit.
async fn read(request: Request<Incoming>) -> Result<Option<Bytes>, Refusal> {
    match Limited::new(request.into_body(), ANSWER_BYTES).collect().await {
        Ok(body) => Ok(Some(body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(_) => Err(Refusal::truncated()),
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ErrorBody {
    error_type: String,
    error_message: String,
}

/// The type is in a header, and most runtimes repeat it in the body. A body that is no JSON is shown as it is.
async fn failure(request: Request<Incoming>) -> Result<InvokeError, Refusal> {
    let from_header = header_text(&request, ERROR_TYPE).map(str::to_owned);
    let Some(body) = read(request).await? else {
        return Err(Refusal::too_large());
    };
    let parsed: ErrorBody = serde_json::from_slice(&body).unwrap_or_default();
    let from_body = Some(parsed.error_type).filter(|text| !text.is_empty());
    let error_type = from_header.or(from_body).unwrap_or_else(|| "Unhandled".to_owned());
    let message = match parsed.error_message {
        empty if empty.is_empty() => String::from_utf8_lossy(&body).into_owned(),
        message => message,
    };
    Ok(InvokeError::Function { error_type, message })
}
