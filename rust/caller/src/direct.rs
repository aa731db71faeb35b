//! Requests to elsewhere: sent on as they are, each on a connection of its own, so that `HTTP_PROXY` can be set for a whole function.

use std::{io, time::Duration};

use http::{
    HeaderValue, Request, Response, header,
    uri::{Authority, PathAndQuery},
};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tailnet::intermediary::remove_hop_by_hop;
use tokio::{io::copy_bidirectional, net::TcpStream, time::timeout};

use crate::{
    body::{Body, whole},
    error::{CallError, Sent},
};

/// How long opening a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Sends a request in absolute form to the server that it names.
pub(crate) async fn send(
    request: Request<Incoming>,
    authority: &Authority,
    port: u16,
) -> Result<Response<Body>, CallError> {
    let stream = connect(authority.host(), port).await?;
    let broken = |error: hyper::Error| CallError::Unreachable {
        message: format!("{authority} gave no response: {error}"),
        sent: Sent::Unknown,
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Its error is the error of the exchange.
    tokio::spawn(async move { drop(connection.await) });
    let (mut head, body) = request.into_parts();
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    let host = HeaderValue::try_from(host).map_err(|error| CallError::InvalidRequest(error.to_string()))?;
    head.uri = head
        .uri
        .path_and_query()
        .cloned()
        .unwrap_or(PathAndQuery::from_static("/"))
        .into();
    remove_hop_by_hop(&mut head.headers);
    head.headers.insert(header::HOST, host);
    let response = sender
        .send_request(Request::from_parts(head, body))
        .await
        .map_err(broken)?;
    let mut response = response.map(|body| body.boxed_unsync());
    remove_hop_by_hop(response.headers_mut());
    Ok(response)
}

/// Opens a tunnel to the server that a CONNECT request names. It lasts until both sides have closed it.
pub(crate) async fn tunnel(request: Request<Incoming>, host: &str, port: u16) -> Result<Response<Body>, CallError> {
    let mut server = connect(host, port).await?;
    tokio::spawn(async move {
        // An error is the end of the connection, which both sides see.
        if let Ok(client) = hyper::upgrade::on(request).await {
            drop(copy_bidirectional(&mut TokioIo::new(client), &mut server).await);
        }
    });
    Ok(Response::new(whole(bytes::Bytes::new())))
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, CallError> {
    let connected = async {
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        stream.set_nodelay(true)?;
        Ok::<_, io::Error>(stream)
    };
    let connected = timeout(CONNECT_LIMIT, connected).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| CallError::Unreachable {
        message: format!("no connection to {host}:{port}: {error} (it is not in TS_PROXY_TARGETS, so it is not reached through the tailnet)"),
        sent: Sent::No,
    })
}
