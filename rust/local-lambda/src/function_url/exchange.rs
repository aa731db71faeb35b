//! One request and its answer: verified, turned into an event, run, and turned back.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::authenticator::Authenticator;
use super::errors::ServiceError;
use super::event::Context;
use super::outgoing::FlushCounter;
use super::response_head::ResponseHead;
use super::serve::{AnswerBody, Front, serve_front};
use super::stream::StreamedBody;
use super::{Settings, answer, event, limits, stream};
use crate::config::InvokeMode;
use crate::invocation::{ANSWER_BYTES, Answer, Function, Invocation, StreamBroken};
use crate::trace;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
pub(crate) const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// The URL.
struct UrlFront<F> {
    authenticator: Authenticator<F>,
}

/// Serves the URL until `stop`. Requests under way then have two seconds to end; when this returns, no connection is left.
pub async fn serve<F: Function>(
    listener: TcpListener,
    settings: Settings,
    function: Arc<F>,
    stop: impl Future<Output = ()>,
) {
    let authenticator = Authenticator::new(settings, function);
    serve_front(listener, UrlFront { authenticator }, stop).await;
}

impl<F: Function> Front for UrlFront<F> {
    async fn answer(
        &self,
        request: Request<Incoming>,
        source: IpAddr,
        flushes: Arc<FlushCounter>,
    ) -> Response<AnswerBody> {
        let request_id = Uuid::new_v4().to_string();
        let trace_id = trace::new_root((self.authenticator.settings.clock)());
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let outcome = self.run(request, source, &request_id, &trace_id, flushes).await;
        let mut response = outcome.unwrap_or_else(own_answer);
        let trace = trace_id.replace("Root=", "root=") + ";sampled=0";
        for (name, value) in [(REQUEST_ID, request_id.as_str()), (TRACE_ID, trace.as_str())] {
            // Both are hex digits and punctuation.
            response.headers_mut().insert(
                name,
                HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static("?")),
            );
        }
        // No query: it may hold a secret.
        tracing::info!(%request_id, %method, path, status = response.status().as_u16(), "answered");
        response
    }
}

impl<F: Function> UrlFront<F> {
    async fn run(
        &self,
        request: Request<Incoming>,
        source: IpAddr,
        request_id: &str,
        trace_id: &str,
        flushes: Arc<FlushCounter>,
    ) -> Result<Response<AnswerBody>, ServiceError> {
        let settings = &self.authenticator.settings;
        let (parts, body) = request.into_parts();
        let (identity, body) = self.authenticator.admit(&parts, body).await?;
        let context = Context {
            settings,
            identity,
            request_id,
            trace_id,
            source,
            time: (settings.clock)(),
        };
        let payload = event::render(&parts, &body, &context).map_err(|error| {
            tracing::error!(%error, "the event cannot be rendered");
            ServiceError::bad_gateway()
        })?;
        if payload.len() > limits::EVENT_BYTES {
            return Err(ServiceError::request_too_large());
        }
        let invocation = Invocation {
            request_id: request_id.to_owned(),
            trace_root: trace_id.to_owned(),
            qualifier: settings.alias.clone(),
            payload: payload.into(),
        };
        let answer = self.authenticator.invoke(invocation).await.map_err(|error| {
            tracing::warn!(%error, "the function gave no answer");
            ServiceError::from(&error)
        })?;
        self.respond(answer, &parts.method, flushes).await
    }

    async fn respond(
        &self,
        answer: Answer,
        method: &Method,
        flushes: Arc<FlushCounter>,
    ) -> Result<Response<AnswerBody>, ServiceError> {
        let (mut head, body) = match (answer, self.authenticator.settings.function.invoke_mode) {
            (Answer::Buffered(payload), InvokeMode::Buffered) => {
                let length = payload.len();
                if length > ANSWER_BYTES {
                    tracing::warn!(length, limit = ANSWER_BYTES, "the function's answer is too large");
                    return Err(ServiceError::bad_gateway());
                }
                answer::read(payload).map_err(|error| refuse(&error, ServiceError::from(&error)))?
            }
            // Recorded (test_lambda_url_echo_invoke of LocalStack's tests): it is not understood, just sent.
            (Answer::Buffered(payload), InvokeMode::ResponseStream) => (
                ResponseHead::plain(HeaderValue::from_static("application/octet-stream")),
                payload,
            ),
            (Answer::Streaming(_), InvokeMode::Buffered) => {
                tracing::warn!("the function streams its answer, but its URL is a BUFFERED one");
                return Err(ServiceError::bad_gateway());
            }
            (Answer::Streaming(mut streaming), InvokeMode::ResponseStream) => {
                let started = stream::read_head(&mut streaming).await;
                let (mut head, first) = started.map_err(|error| refuse(&error, unstarted(&error)))?;
                let body = StreamedBody::new(first, streaming, flushes);
                show_length(&mut head, true);
                return Ok(assemble(head, BodyExt::boxed_unsync(body)));
            }
        };
        let bodiless = *method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED;
        show_length(&mut head, bodiless);
        Ok(assemble(
            head,
            if bodiless { Unsent.boxed_unsync() } else { full(body) },
        ))
    }
}

/// The length that the function claims. Of a buffered answer with a body it is dropped: the true one is known.
fn show_length(head: &mut ResponseHead, keep: bool) {
    if let Some(length) = head.content_length.filter(|_| keep) {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
}

fn refuse(error: &dyn std::error::Error, answer: ServiceError) -> ServiceError {
    tracing::warn!(%error, status = answer.status.as_u16(), "the function's answer is refused");
    answer
}

fn unstarted(error: &stream::Unstarted) -> ServiceError {
    match error {
        stream::Unstarted::Malformed(malformed) => ServiceError::from(malformed),
        stream::Unstarted::Broken(_) => ServiceError::bad_gateway(),
    }
}

fn assemble(head: ResponseHead, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

pub(crate) fn own_answer(error: ServiceError) -> Response<AnswerBody> {
    let mut head = ResponseHead::plain(HeaderValue::from_static("application/json"));
    head.status = error.status;
    head.headers.extend(
        error
            .error_type
            .map(|value| (ERROR_TYPE, HeaderValue::from_static(value))),
    );
    assemble(head, full(error.body))
}

/// The body of an answer that has none: hyper takes the length of one that it knows for the true one, and so would drop
/// what the head of a 304 claims (RFC 9110 section 8.6).
struct Unsent;

impl Body for Unsent {
    type Data = Bytes;
    type Error = StreamBroken;

    fn poll_frame(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamBroken>>> {
        Poll::Ready(None)
    }
}

pub(crate) fn full(body: Bytes) -> AnswerBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}
