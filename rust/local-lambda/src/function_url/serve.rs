//! The server: HTTP/1.1 on a listening socket, one task a connection, all of them owned here and ended here.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::limits;
use super::outgoing::{FlushCounter, Outgoing};
use crate::invocation::StreamBroken;

/// After a failed accept: what the machine lacks (file descriptors, memory) is not back at once, and there is no event
/// to await.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The body of a response; an error of it breaks the client's connection.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, StreamBroken>;

/// What answers the requests of a server.
pub(crate) trait Front: Send + Sync + 'static {
    /// Answers one request; never fails.
    fn answer(
        &self,
        request: Request<Incoming>,
        source: IpAddr,
        flushes: Arc<FlushCounter>,
    ) -> impl Future<Output = Response<AnswerBody>> + Send;
}

/// Serves a front until `stop`. Requests under way then have two seconds to end; when this returns, no connection is left.
pub(crate) async fn serve_front(listener: TcpListener, front: impl Front, stop: impl Future<Output = ()>) {
    let front = Arc::new(front);
    let mut connections = JoinSet::new();
    let (closing, closed) = watch::channel(false);
    tokio::select! {
        () = stop => {}
        () = accept(&listener, &front, &mut connections, &closed) => {}
    }
    drop(listener);
    closing.send_replace(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(limits::SHUTDOWN_GRACE, all_ended).await.is_err() {
        tracing::info!(count = connections.len(), "requests under way are cut off");
    }
    connections.shutdown().await;
}

/// Accepts connections for ever.
async fn accept(
    listener: &TcpListener,
    front: &Arc<impl Front>,
    connections: &mut JoinSet<()>,
    closed: &watch::Receiver<bool>,
) {
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (front, closed) = (Arc::clone(front), closed.clone());
                connections.spawn(connection(stream, peer.ip(), front, closed));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, source: IpAddr, front: Arc<impl Front>, mut closed: watch::Receiver<bool>) {
    // A streamed answer's small chunks must not wait for each other (Nagle).
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY is not set");
    }
    let (stream, flushes) = Outgoing::new(stream);
    let service = service_fn(move |request| {
        let (front, flushes) = (Arc::clone(&front), Arc::clone(&flushes));
        async move { Ok::<_, Infallible>(front.answer(request, source, flushes).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let closing = async move {
        // An error means that the server is gone: closing as well.
        let _ = closed.wait_for(|closing| *closing).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
