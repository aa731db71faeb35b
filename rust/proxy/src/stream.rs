//! Answers that leave as they come (invoke mode `RESPONSE_STREAM`).
//!
//! The runtime's own way of streaming turns an error in the middle into text of the body and a normal end; here it ends
//! the answer as an error on the Runtime API. So in this mode a layer takes the invocations and posts the answers itself.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming>

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, future::BoxFuture, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{body::Frame, client::conn::http1};
use hyper_util::rt::TokioIo;
use lambda_http::lambda_runtime::{Diagnostic, Error, LambdaInvocation, tower::Service};
use tokio::net::TcpStream;

use crate::{
    error::ProxyError, forward::UpstreamResponse, handler::Handler, invocation::Invocation, outcome::Outcome,
    request_log::RequestRecord, response::ResponseHead,
};

const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");
/// What parts the head from the body.
const DELIMITER: [u8; 8] = [0; 8];

/// Answers invocations with streams, posted to the Runtime API at `host:port`.
#[derive(Clone)]
pub struct Streamer {
    handler: Arc<Handler>,
    runtime_api: Arc<str>,
}

impl Streamer {
    /// A streamer that posts to the Runtime API at `runtime_api` (`host:port`).
    pub fn new(handler: Arc<Handler>, runtime_api: &str) -> Self {
        Self {
            handler,
            runtime_api: runtime_api.into(),
        }
    }

    async fn answer(self, invocation: LambdaInvocation) -> Result<(), Error> {
        let context = &invocation.context;
        let (outcome, record) = match serde_json::from_slice(&invocation.body) {
            Ok(Invocation::Request(event)) => {
                let (outcome, record) = self.handler.open(*event, context).await;
                (outcome, Some(record))
            }
            Ok(warm_up @ Invocation::WarmUp(_)) => {
                let outcome = Outcome::of(&self.handler, warm_up, context).await;
                return self.post_whole(&context.request_id, outcome).await;
            }
            Err(error) => (Err(ProxyError::InvalidRequest(error.to_string())), None),
        };
        let (head, rest) = match outcome {
            Ok(reply) => (
                ResponseHead::from_target(reply.parts.status, reply.parts.headers.clone()),
                Rest::Reply(Box::new(reply)),
            ),
            Err(error) => {
                let sent = record.as_ref().map(|record| record.timings.sent).unwrap_or_default();
                let (head, body) = ResponseHead::from_error(&error, sent);
                (head, Rest::Text(body))
            }
        };
        let mut start = serde_json::to_vec(&head)?;
        start.extend_from_slice(&DELIMITER);
        let state = State {
            handler: Arc::clone(&self.handler),
            next: Next::Start(start.into(), rest),
            record,
        };
        self.post(&context.request_id, StreamBody::new(Box::pin(frames(state))))
            .await
    }

    /// Posts what is no Function URL's answer: its caller waits for all of it.
    async fn post_whole(&self, id: &str, outcome: Result<Outcome, ProxyError>) -> Result<(), Error> {
        let (end, body) = match outcome {
            Ok(outcome) => ("response", serde_json::to_vec(&outcome)?),
            Err(error) => ("error", serde_json::to_vec(&Diagnostic::from(error))?),
        };
        let request = Request::post(format!("/2018-06-01/runtime/invocation/{id}/{end}"))
            .header("host", &*self.runtime_api)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        self.send(request).await
    }

    async fn post<B>(&self, id: &str, body: B) -> Result<(), Error>
    where
        B: hyper::body::Body<Data = Bytes, Error = Error> + Send + 'static + Unpin,
    {
        let request = Request::post(format!("/2018-06-01/runtime/invocation/{id}/response"))
            .header("host", &*self.runtime_api)
            .header("content-type", "application/vnd.awslambda.http-integration-response")
            .header("lambda-runtime-function-response-mode", "streaming")
            .header("transfer-encoding", "chunked")
            .header(
                "trailer",
                "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
            )
            .body(body)?;
        self.send(request).await
    }

    async fn send<B>(&self, request: Request<B>) -> Result<(), Error>
    where
        B: hyper::body::Body<Data = Bytes, Error: Into<Error>> + Send + 'static + Unpin,
    {
        let stream = TcpStream::connect(&*self.runtime_api).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let answered = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let words = response.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>((status, words))
        };
        // The caller may have gone, or the invocation ended: that is no reason to end the runtime as well.
        match answered.await {
            Ok((StatusCode::ACCEPTED, _)) => {}
            Ok((status, words)) => {
                tracing::warn!(
                    "the Runtime API took the answer with {status}: {}",
                    String::from_utf8_lossy(&words)
                );
            }
            Err(error) => tracing::warn!("the answer could not be posted to its end: {error}"),
        }
        driver.abort();
        Ok(())
    }
}

impl Service<LambdaInvocation> for Streamer {
    type Response = ();
    type Error = Error;
    type Future = BoxFuture<'static, Result<(), Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        self.clone().answer(invocation).boxed()
    }
}

/// What follows the head.
enum Rest {
    Reply(Box<UpstreamResponse>),
    Text(String),
}

/// What is to be posted next.
enum Next {
    Start(Bytes, Rest),
    Rest(Rest),
    End,
}

struct State {
    handler: Arc<Handler>,
    next: Next,
    /// Given with the end of the answer, or when the caller is gone.
    record: Option<RequestRecord>,
}

/// The frames of an answer: head, body, and, where it broke off, the trailers that say so.
fn frames(state: State) -> impl Stream<Item = Result<Frame<Bytes>, Error>> {
    stream::unfold(state, |state| async {
        let State {
            handler,
            next,
            mut record,
        } = state;
        let (frame, next) = match next {
            Next::Start(start, rest) => (Frame::data(start), Next::Rest(rest)),
            Next::Rest(Rest::Text(text)) => (Frame::data(Bytes::from(text)), Next::End),
            Next::Rest(Rest::Reply(mut reply)) => match handler.forwarder().next(&mut reply).await {
                Some(Ok(bytes)) => (Frame::data(bytes), Next::Rest(Rest::Reply(reply))),
                Some(Err(error)) => {
                    tracing::warn!("{}: the answer broke off: {error}", error.code().1);
                    if let Some(record) = &mut record {
                        record.fail(&error);
                    }
                    (Frame::trailers(error_trailers(&error)), Next::End)
                }
                None => {
                    handler.forwarder().release(*reply);
                    return None;
                }
            },
            Next::End => return None,
        };
        Some((Ok(frame), State { handler, next, record }))
    })
}

fn error_trailers(error: &ProxyError) -> HeaderMap {
    let name = error.code().1;
    let body = serde_json::json!({"errorType": name, "errorMessage": error.to_string(), "stackTrace": []}).to_string();
    let mut trailers = HeaderMap::new();
    trailers.insert(ERROR_TYPE, HeaderValue::from_static(name));
    if let Ok(body) = HeaderValue::try_from(BASE64_STANDARD.encode(body)) {
        trailers.insert(ERROR_BODY, body);
    }
    trailers
}
