//! The one path that every invocation takes, in both invoke modes: read it, answer it, post the response, flush the
//! metrics.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, stream};
use hyper::body::Frame;
use serde::Serialize;
use tokio::join;

use crate::{
    config::InvokeMode,
    error::ProxyError,
    forward::UpstreamResponse,
    handler::{Handler, catch_panic},
    payload::Payload,
    request_log::RequestRecord,
    response::{Response, ResponseHead, not_json},
    runtime_api::{Invocation, RuntimeApi, RuntimeApiError, error_trailers},
    timeouts::deadline,
};

/// What parts the head of a streamed response from its body.
const DELIMITER: [u8; 8] = [0; 8];

/// Serves invocations.
pub struct Service {
    handler: Arc<Handler>,
    invoke_mode: InvokeMode,
    runtime_api: RuntimeApi,
}

impl Service {
    /// A service that responds by way of `runtime_api`.
    pub fn new(handler: Arc<Handler>, invoke_mode: InvokeMode, runtime_api: RuntimeApi) -> Self {
        Self {
            handler,
            invoke_mode,
            runtime_api,
        }
    }

    /// Serves until the Runtime API is gone.
    pub async fn run(mut self) -> Result<Infallible, RuntimeApiError> {
        loop {
            self.serve_next().await?;
        }
    }

    /// Serves one invocation.
    pub async fn serve_next(&mut self) -> Result<(), RuntimeApiError> {
        let invocation = self.runtime_api.next().await?;
        let handler = Arc::clone(&self.handler);
        let told = handler.forwarder().invoked(deadline(invocation.deadline_ms));
        // Lambda may freeze the environment once the next invocation is asked for: by then the extension is done, too.
        join!(self.serve(&invocation), told);
        Ok(())
    }

    async fn serve(&mut self, invocation: &Invocation) {
        match serde_json::from_slice(&invocation.payload) {
            Ok(Payload::Request(event)) => {
                let (response, record) = self.handler.open(*event, invocation).await;
                match self.invoke_mode {
                    InvokeMode::Buffered => self.respond_whole(invocation, response, record).await,
                    InvokeMode::ResponseStream => self.respond_as_it_comes(invocation, response, record).await,
                }
            }
            Ok(Payload::WarmUp(warm_up)) => {
                let warmed = self.handler.warm_up(warm_up, invocation).await;
                self.conclude(invocation, warmed).await;
            }
            Ok(Payload::Diagnose(headers)) => {
                let report = self.handler.diagnose(&headers, invocation).await;
                self.conclude(invocation, report).await;
            }
            Err(error) => {
                let error = ProxyError::InvalidRequest(error.to_string());
                self.conclude::<()>(invocation, Err(error)).await;
            }
        }
        // What takes its time here keeps nobody waiting but the next caller.
        self.handler.metrics().flush().await;
    }

    async fn respond_whole(
        &mut self,
        invocation: &Invocation,
        response: Result<UpstreamResponse, ProxyError>,
        mut record: RequestRecord,
    ) {
        let whole = async {
            let (parts, body) = self.handler.forwarder().collect(response?).await?;
            Response::from_target(parts, &body)
        };
        let response = catch_panic(whole).await.or_else(|error| {
            record.fail(&error);
            Response::from_error(&error, record.timings.sent)
        });
        if let Ok(response) = &response {
            record.respond(response.status());
        }
        self.post(invocation, response.map(Response::into_json)).await;
        record.complete();
    }

    async fn respond_as_it_comes(
        &mut self,
        invocation: &Invocation,
        response: Result<UpstreamResponse, ProxyError>,
        mut record: RequestRecord,
    ) {
        let (head, rest) = match response {
            Ok(mut response) => {
                let headers = std::mem::take(&mut response.parts.headers);
                let head = ResponseHead::from_target(response.parts.status, headers);
                (head, Rest::Upstream(Box::new(response)))
            }
            Err(error) => {
                record.fail(&error);
                let (head, body) = ResponseHead::from_error(&error, record.timings.sent);
                (head, Rest::Text(body))
            }
        };
        record.respond(head.status());
        match serde_json::to_vec(&head).map_err(not_json) {
            Ok(mut start) => {
                start.extend_from_slice(&DELIMITER);
                let state = State {
                    handler: Arc::clone(&self.handler),
                    next: Next::Start(start.into(), rest),
                    record,
                };
                self.runtime_api.stream(invocation, frames(state)).await;
            }
            Err(error) => {
                record.fail(&error);
                self.runtime_api.fail(invocation, &error).await;
            }
        }
    }

    /// Posts what the invocation came to, or that it failed.
    async fn conclude<T: Serialize>(&mut self, invocation: &Invocation, outcome: Result<T, ProxyError>) {
        let json = outcome.and_then(|outcome| serde_json::to_string(&outcome).map_err(not_json));
        self.post(invocation, json).await;
    }

    async fn post(&mut self, invocation: &Invocation, json: Result<String, ProxyError>) {
        match json {
            Ok(json) => self.runtime_api.respond(invocation, json.into_bytes()).await,
            Err(error) => {
                tracing::warn!(
                    request_id = invocation.request_id,
                    error = error.code().1,
                    "the invocation failed: {error}"
                );
                self.runtime_api.fail(invocation, &error).await;
            }
        }
    }
}

/// What follows the head.
enum Rest {
    Upstream(Box<UpstreamResponse>),
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
    /// Written with the end of the response, or when the caller has gone.
    record: RequestRecord,
}

/// The frames of a response: head, body, and, if it broke off, the trailers that say so.
fn frames(state: State) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
    stream::unfold(state, |state| async {
        let State {
            handler,
            next,
            mut record,
        } = state;
        let (frame, next) = match next {
            Next::Start(start, rest) => (Frame::data(start), Next::Rest(rest)),
            Next::Rest(Rest::Text(text)) => (Frame::data(Bytes::from(text)), Next::End),
            Next::Rest(Rest::Upstream(mut response)) => match handler.forwarder().next(&mut response).await {
                Some(Ok(bytes)) => (Frame::data(bytes), Next::Rest(Rest::Upstream(response))),
                Some(Err(error)) => {
                    record.fail(&error);
                    (Frame::trailers(error_trailers(&error)), Next::End)
                }
                None => {
                    handler.forwarder().release(*response);
                    record.complete();
                    return None;
                }
            },
            Next::End => {
                record.complete();
                return None;
            }
        };
        Some((Ok(frame), State { handler, next, record }))
    })
}
