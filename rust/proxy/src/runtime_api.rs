//! Lambda's Runtime API, over one connection: the next invocation, and what is posted for it.
//!
//! Of the public runtime, which would do this too, no part is left that fits: it ends a stream that broke off as if it were
//! whole, with the error as text of the body; here it ends with the trailers that the Runtime API has for that.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming>

use std::{convert::Infallible, io};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{net::TcpStream, task::JoinHandle};

use crate::error::ProxyError;

const REQUEST_ID: &str = "lambda-runtime-aws-request-id";
const FUNCTION_ARN: &str = "lambda-runtime-invoked-function-arn";
const DEADLINE_MS: &str = "lambda-runtime-deadline-ms";
/// Tells one invocation from a later one with the same request id (a retry): a response that comes too late, for the
/// earlier one, is refused by it and does not reach the later one's caller.
const INVOCATION_ID: HeaderName = HeaderName::from_static("lambda-runtime-invocation-id");
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");

/// Why there is no next invocation.
#[derive(Debug, Error)]
pub enum RuntimeApiError {
    /// There is no connection.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    /// It is not the Runtime API, or not one that is known here.
    #[error("{0}")]
    Unexpected(String),
}

/// One invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Its request id.
    pub request_id: String,
    /// When it ends, in milliseconds since the Unix epoch.
    pub deadline_ms: u64,
    /// The ARN by which the function was invoked, with the alias if it was one. From Lambda, not from the caller.
    pub function_arn: Option<String>,
    /// What it was invoked with: JSON.
    pub payload: Bytes,
    id: Option<HeaderValue>,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The Runtime API of this environment.
pub struct RuntimeApi {
    /// `host:port`.
    address: String,
    connection: Option<Connection>,
}

/// A connection, carried for as long as this is held.
struct Connection {
    sender: SendRequest<Body>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl RuntimeApi {
    /// The Runtime API at `address` (`host:port`).
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            connection: None,
        }
    }

    /// Waits for the next invocation.
    pub async fn next(&mut self) -> Result<Invocation, RuntimeApiError> {
        let request = self.request("GET", "next").body(Empty::new().boxed_unsync());
        let (head, body) = self.send(request).await?.into_parts();
        let payload = body.collect().await?.to_bytes();
        if head.status != StatusCode::OK {
            let said = String::from_utf8_lossy(&payload);
            return Err(RuntimeApiError::Unexpected(format!(
                "it responded {}: {said}",
                head.status
            )));
        }
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let missing = |name| RuntimeApiError::Unexpected(format!("an invocation came without {name}"));
        let deadline_ms = text(DEADLINE_MS).and_then(|text| text.parse().ok());
        Ok(Invocation {
            request_id: text(REQUEST_ID).ok_or_else(|| missing(REQUEST_ID))?.to_owned(),
            deadline_ms: deadline_ms.ok_or_else(|| missing(DEADLINE_MS))?,
            function_arn: text(FUNCTION_ARN).map(str::to_owned),
            id: head.headers.get(INVOCATION_ID).cloned(),
            payload,
        })
    }

    /// Posts a whole response.
    pub async fn respond(&mut self, invocation: &Invocation, json: Vec<u8>) {
        self.post_json(invocation, "response", json).await;
    }

    /// Posts that the invocation failed.
    pub async fn fail(&mut self, invocation: &Invocation, error: &ProxyError) {
        self.post_json(invocation, "error", error_json(error).into_bytes())
            .await;
    }

    /// Posts a response as its frames come: the head as JSON, eight zero bytes, the body, and [`error_trailers`] where it
    /// broke off.
    pub async fn stream(
        &mut self,
        invocation: &Invocation,
        frames: impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static,
    ) {
        let request = self
            .post(invocation, "response")
            .header(
                header::CONTENT_TYPE,
                "application/vnd.awslambda.http-integration-response",
            )
            .header("lambda-runtime-function-response-mode", "streaming")
            .header(header::TRANSFER_ENCODING, "chunked")
            .header(
                header::TRAILER,
                "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
            )
            .body(StreamBody::new(frames).boxed_unsync());
        self.deliver(request).await;
    }

    async fn post_json(&mut self, invocation: &Invocation, end: &str, json: Vec<u8>) {
        let request = self
            .post(invocation, end)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(json)).boxed_unsync());
        self.deliver(request).await;
    }

    fn post(&self, invocation: &Invocation, end: &str) -> request::Builder {
        let mut request = self.request("POST", &format!("{}/{end}", invocation.request_id));
        if let Some(id) = &invocation.id {
            request = request.header(INVOCATION_ID, id);
        }
        request
    }

    fn request(&self, method: &str, path: &str) -> request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("/2018-06-01/runtime/invocation/{path}"))
            .header(header::HOST, &self.address)
    }

    /// Posts what an invocation came to. That it cannot be posted, because the caller has gone or the invocation has
    /// ended, is no reason to end the runtime.
    async fn deliver(&mut self, request: Result<Request<Body>, http::Error>) {
        let posted = async {
            let response = self.send(request).await?;
            let status = response.status();
            let said = response.into_body().collect().await?.to_bytes();
            Ok::<_, RuntimeApiError>((status, said))
        };
        match posted.await {
            Ok((StatusCode::ACCEPTED, _)) => {}
            Ok((status, said)) => {
                // What was refused before its end must not go on.
                self.connection = None;
                let said = String::from_utf8_lossy(&said);
                tracing::warn!("the Runtime API refused the response with {status}: {said}");
            }
            Err(error) => tracing::warn!("the response could not be posted to its end: {error}"),
        }
    }

    /// The connection of the last exchange, or a new one.
    async fn connection(&mut self) -> Result<Connection, RuntimeApiError> {
        if let Some(mut connection) = self.connection.take()
            && connection.sender.ready().await.is_ok()
        {
            return Ok(connection);
        }
        connect(&self.address).await
    }

    async fn send(
        &mut self,
        request: Result<Request<Body>, http::Error>,
    ) -> Result<Response<Incoming>, RuntimeApiError> {
        let request = request.map_err(|error| RuntimeApiError::Unexpected(format!("BUG: {error}")))?;
        let mut connection = self.connection().await?;
        let response = connection.sender.send_request(request).await?;
        self.connection = Some(connection);
        Ok(response)
    }
}

/// Opens a connection.
async fn connect(address: &str) -> Result<Connection, RuntimeApiError> {
    let stream = TcpStream::connect(address).await.map_err(RuntimeApiError::Connect)?;
    stream.set_nodelay(true).map_err(RuntimeApiError::Connect)?;
    let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    // Its error is the error of the request that it hits.
    let driver = tokio::spawn(async move { drop(driver.await) });
    Ok(Connection { sender, driver })
}

/// The trailers of a streamed response that broke off.
pub fn error_trailers(error: &ProxyError) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(ERROR_TYPE, HeaderValue::from_static(error.code().1));
    if let Ok(body) = HeaderValue::try_from(BASE64_STANDARD.encode(error_json(error))) {
        trailers.insert(ERROR_BODY, body);
    }
    trailers
}

fn error_json(error: &ProxyError) -> String {
    serde_json::json!({"errorType": error.code().1, "errorMessage": error.to_string(), "stackTrace": []}).to_string()
}
