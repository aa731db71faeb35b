//! The HTTP API inside an environment, on 127.0.0.1:9001: the Runtime API and the Extensions API.
//!
//! Routes, bodies and errors are those of AWS's references
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>) and, where these are silent, of
//! aws/aws-lambda-runtime-interface-emulator. What a call means is the environment's to decide: see [`calls`].

pub(crate) mod calls;
mod extensions;
mod refusal;
mod runtime;
mod stream;

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::config::Function;
use calls::Call;
pub(crate) use refusal::Refusal;

type Answered = Result<Response<Full<Bytes>>, Refusal>;

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) function: Arc<Function>,
    pub(crate) calls: mpsc::Sender<Call>,
}

impl Api {
    /// Puts a call to the environment, and waits for its answer: for a long poll that is the next event.
    async fn ask<T>(&self, call: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Call) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.calls
            .send(call(reply))
            .await
            .map_err(|_| Refusal::environment_ended())?;
        answer.await.unwrap_or_else(|_| Err(Refusal::environment_ended()))
    }
}

/// Serves until it is dropped, or cannot accept connections any more.
pub(crate) async fn serve(listener: TcpListener, api: Api) -> std::io::Error {
    let listened = listener
        .set_nonblocking(true)
        .and_then(|()| tokio::net::TcpListener::from_std(listener));
    let listener = match listened {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let api = Arc::new(api);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let socket = match accepted {
                    Ok((socket, _)) => socket,
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => continue,
                    Err(error) => return error,
                };
                // An answer of two writes must not wait for the acknowledgement of the first: that may take 40 ms.
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "a connection to the Runtime API is gone already");
                }
                let api = api.clone();
                connections.spawn(async move {
                    let service = service_fn(|request| handle(&api, request));
                    let connection = hyper::server::conn::http1::Builder::new();
                    // A killed process resets its connections: its exit is reported elsewhere.
                    if let Err(error) = connection.serve_connection(TokioIo::new(socket), service).await {
                        tracing::debug!(%error, "a connection to the Runtime API broke");
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn handle(api: &Arc<Api>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let outcome = route(api, request).await;
    Ok(outcome.unwrap_or_else(|refusal| refusal.into_response()))
}

async fn route(api: &Arc<Api>, request: Request<Incoming>) -> Answered {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (request.method(), segments.as_slice()) {
        (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => runtime::next(api).await,
        (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
            runtime::response(api, id, request).await
        }
        (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => runtime::error(api, id, request).await,
        (&Method::POST, ["2020-01-01", "extension", "register"]) => extensions::register(api, request).await,
        (&Method::GET, ["2020-01-01", "extension", "event", "next"]) => extensions::next(api, &request).await,
        (&Method::POST, ["2020-01-01", "extension", "init", "error"]) => extensions::init_error(api, &request).await,
        _ => Err(Refusal::not_found(&path)),
    }
}

fn accepted() -> Response<Full<Bytes>> {
    json(StatusCode::ACCEPTED, &serde_json::json!({ "status": "OK" }))
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(body) {
        Ok(text) => {
            let mut response = respond(status, text.into());
            let json = header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response
        }
        Err(error) => Refusal::internal(&error.to_string()).into_response(),
    }
}

fn respond(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

/// The text of a request header, if it has one.
fn header_text<'a, B>(request: &'a Request<B>, name: &str) -> Option<&'a str> {
    request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .filter(|text| !text.is_empty())
}
