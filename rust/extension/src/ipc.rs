//! The status socket: answers the proxy's requests about routes and paths.

use std::{io, path::Path, time::Duration};

use tailnet::{
    connect::{Route, RouteError, Router},
    protocol::{self, Request, RequestError, Response},
};
use tokio::{
    io::AsyncReadExt,
    net::{UnixListener, UnixStream},
    select,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{diagnose::diagnose, preflight::Preflight};

/// How long a request may take to arrive once its connection is there.
const REQUEST_LIMIT: Duration = Duration::from_secs(1);
/// The latest deadline that a request may have: Lambda's longest invocation.
const MAX_WAIT: Duration = Duration::from_secs(900);
/// The pause after a connection could not be accepted: for want of descriptors, the next one could not be either.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How many requests are answered at a time; more wait in the listener's queue.
const MAX_REQUESTS: usize = 64;

/// The server behind the status socket.
pub struct StatusServer {
    listener: UnixListener,
    preflight: Preflight,
}

impl StatusServer {
    /// Listens on `socket`, in place of one that an earlier environment left.
    pub fn bind(socket: &Path, preflight: Preflight) -> io::Result<Self> {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self {
            listener: UnixListener::bind(socket)?,
            preflight,
        })
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        let mut answering = JoinSet::new();
        loop {
            while answering.len() >= MAX_REQUESTS {
                answering.join_next().await;
            }
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    answering.spawn(serve_one(self.preflight.clone(), stream));
                }
                Err(error) => {
                    tracing::error!("a request of the proxy was lost: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
            while answering.try_join_next().is_some() {}
        }
    }
}

async fn serve_one(preflight: Preflight, mut stream: UnixStream) {
    let request = match timeout(REQUEST_LIMIT, protocol::read_request(&mut stream)).await {
        Ok(Ok(request)) => request,
        Ok(Err(RequestError::Io(error))) => return tracing::debug!("a client went away before its request: {error}"),
        Ok(Err(error)) => {
            tracing::warn!("{error}");
            let version = protocol::VERSION;
            return respond(&mut stream, &Response::VersionMismatch { version }).await;
        }
        Err(_) => return tracing::warn!("a client of the status socket sent no request"),
    };
    let response = select! {
        response = answer(&preflight, &request) => response,
        // Nothing follows a request: what can be read is the end of a client that no longer waits.
        _ = stream.read_u8() => return tracing::debug!("the proxy did not wait for a response"),
    };
    respond(&mut stream, &response).await;
}

async fn respond(stream: &mut UnixStream, response: &Response) {
    if let Err(error) = protocol::write_response(stream, response).await {
        tracing::debug!("the proxy did not wait for a response: {error}");
    }
}

async fn answer(preflight: &Preflight, request: &Request) -> Response {
    let deadline = request.deadline().min(Instant::now() + MAX_WAIT);
    let verified = |path| Response::Verified { path };
    let response = match request {
        Request::Route { host, .. } => preflight.route(host, deadline).await.map(route),
        Request::Verify { address, .. } => preflight.verify(*address, deadline).await.map(verified),
        Request::Stalled { address, .. } => {
            preflight.stalled(*address, deadline).await;
            Ok(verified(preflight.path()))
        }
        Request::KeepAlive { .. } => preflight.keep_alive(deadline).await.map(verified),
        Request::Invoked { .. } => preflight.invoked(deadline).await.map(verified),
        Request::Diagnose { host, .. } => Ok(Response::Diagnosed {
            diagnosis: Box::new(diagnose(preflight, host, deadline).await),
        }),
    };
    response.unwrap_or_else(refusal)
}

fn route(route: Route) -> Response {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Response::Route {
        addresses: route.addresses,
        sources: route.sources,
        path: route.path,
        round_trip_us: route.round_trip.map(micros),
        just_joined: route.just_joined,
        ready_ms: millis(route.ready),
        verified: route.verified,
    }
}

fn refusal(error: RouteError) -> Response {
    match error {
        RouteError::NotAllowed(message) => Response::NotAllowed { message },
        RouteError::UnknownName(message) => Response::UnknownName { message },
        RouteError::Unavailable {
            code,
            message,
            retry_after,
        } => Response::Unavailable {
            code,
            message,
            retry_after_ms: retry_after.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
        },
    }
}
