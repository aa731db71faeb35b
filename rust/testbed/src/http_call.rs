//! One HTTP/1.1 request on one connection, whatever carries it: TCP, a unix socket, a SOCKS tunnel.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::deadline::{TimedOut, within};

/// Hop-by-hop headers (RFC 9110 section 7.6.1, and earlier versions), by which tests judge: not the product's own list.
pub const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody took the connection.
    #[error("cannot connect to {address}: {source}")]
    NotConnected {
        /// Where to.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The connection broke before the end of the answer.
    #[error("no answer: {0}")]
    Broken(#[from] hyper::Error),
    /// The request cannot be written as HTTP.
    #[error("the request is malformed: {0}")]
    Malformed(#[from] http::Error),
    /// It took too long.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    /// The other side refused.
    #[error("{what} was answered with {status}: {body}")]
    Refused {
        /// What was asked.
        what: String,
        /// The status.
        status: StatusCode,
        /// The answer.
        body: String,
    },
    /// The answer is not what it should be.
    #[error("{what} was answered with something else than expected: {detail}")]
    Unexpected {
        /// What was asked.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// Connects to `address` (`host:port`).
pub async fn connect(address: &str) -> Result<TcpStream, CallError> {
    let connected = TcpStream::connect(address).await;
    connected.map_err(|source| CallError::NotConnected {
        address: address.to_owned(),
        source,
    })
}

/// The text of a header; empty where there is none.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// Sends `request` and returns the answer with its body still to come.
pub async fn open(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, CallError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end shows as an error, or as the end, of the answer under way.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender.send_request(request).await?)
}

/// Sends `request` and returns the whole answer, which must be there within `limit`.
pub async fn call(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
    limit: Duration,
) -> Result<Response<Bytes>, CallError> {
    let what = format!("{} {}", request.method(), request.uri());
    within(limit, &what, async {
        let (head, body) = open(stream, request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    })
    .await?
}

/// The body of an answer of the 2xx kind; an error for any other.
pub fn succeeded(what: &str, answer: Response<Bytes>) -> Result<Bytes, CallError> {
    if answer.status().is_success() {
        return Ok(answer.into_body());
    }
    let body = String::from_utf8_lossy(answer.body()).trim().to_owned();
    Err(CallError::Refused {
        what: what.to_owned(),
        status: answer.status(),
        body,
    })
}

/// The body as JSON.
pub fn json<T: serde::de::DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|error| CallError::Unexpected {
        what: what.to_owned(),
        detail: error.to_string(),
    })
}
