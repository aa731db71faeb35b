//! One HTTP/1.1 request on one connection, whatever carries it: TCP, a unix socket, a SOCKS tunnel.

use std::{fmt::Display, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::{Error, deadline::within, error::failed};

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

/// Connects to `address` (`host:port`).
pub async fn connect(address: &str) -> Result<TcpStream, Error> {
    let connected = TcpStream::connect(address).await;
    connected.map_err(failed(format!("cannot connect to {address}")))
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
) -> Result<Response<Incoming>, Error> {
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
) -> Result<Response<Bytes>, Error> {
    let what = format!("{} {}", request.method(), request.uri());
    within(limit, &what, async {
        let (head, body) = open(stream, request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    })
    .await?
}

/// The body of an answer of the 2xx kind; an error for any other.
pub fn succeeded(what: &str, answer: Response<Bytes>) -> Result<Bytes, Error> {
    if answer.status().is_success() {
        return Ok(answer.into_body());
    }
    let body = String::from_utf8_lossy(answer.body());
    let (status, body) = (answer.status(), body.trim());
    Err(Error::Other(format!("{what} was answered with {status}: {body}")))
}

/// The body as JSON.
pub fn json<T: serde::de::DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| unexpected(what, error))
}

/// An answer is not what it should be.
pub(crate) fn unexpected(what: &str, detail: impl Display) -> Error {
    failed(format!("{what} was answered with something else than expected"))(detail)
}
