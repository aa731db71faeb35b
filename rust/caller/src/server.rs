//! The HTTP proxy that the function's clients talk to.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::{Method, Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tailnet::host::Host;
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use crate::{body::Body, config::Config, direct, error::CallError, signed::Signed};

/// How many connections are served at once: further ones wait, as a function may have 1,024 files open.
const MAX_CONNECTIONS: u32 = 256;
/// How long accepting pauses after it failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The HTTP proxy.
pub struct Server {
    listener: TcpListener,
    signed: Arc<Signed>,
    /// One for each connection.
    permits: Arc<Semaphore>,
    /// Whether connections end with their current request.
    ending: watch::Sender<bool>,
}

impl Server {
    /// Listens at `config.listen`.
    pub async fn bind(config: Config) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(config.listen).await?,
            signed: Arc::new(Signed::new(config)),
            permits: Arc::new(Semaphore::new(MAX_CONNECTIONS as usize)),
            ending: watch::Sender::new(false),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves for ever.
    pub async fn run(&self) -> Infallible {
        loop {
            // The semaphore is never closed.
            let permit = Arc::clone(&self.permits).acquire_owned().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (signed, ending) = (Arc::clone(&self.signed), self.ending.subscribe());
                    tokio::spawn(async move {
                        serve(stream, signed, ending).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!("a connection to the caller's proxy was not accepted: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Closes the port, and gives the requests that are open up to `limit` for their responses. Tunnels are not waited for.
    pub async fn end(self, limit: Duration) {
        drop(self.listener);
        self.ending.send_replace(true);
        let all = self.permits.acquire_many(MAX_CONNECTIONS);
        if timeout(limit, all).await.is_err() {
            let open = MAX_CONNECTIONS as usize - self.permits.available_permits();
            tracing::warn!("{open} requests had no response within {limit:?}, and were given up");
        }
    }
}

async fn serve(stream: TcpStream, signed: Arc<Signed>, mut ending: watch::Receiver<bool>) {
    // Without it, small responses wait for an acknowledgement; it matters to speed alone.
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request| {
        let signed = Arc::clone(&signed);
        async move { Ok::<_, Infallible>(respond(request, &signed).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // The guard that the wait returns must not be held over the next one. Without a sender the process ends.
    let ending = async { drop(ending.wait_for(|ending| *ending).await) };
    let ended = select! {
        ended = connection.as_mut() => ended,
        () = ending => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a client's connection ended early: {error}");
    }
}

async fn respond(request: Request<Incoming>, signed: &Signed) -> Response<Body> {
    let what = format!(
        "{} {}",
        request.method(),
        request.uri().authority().map_or("", |authority| authority.as_str())
    );
    match dispatch(request, signed).await {
        Ok(response) => {
            tracing::debug!("{what}: {}", response.status());
            response
        }
        Err(error) => {
            let (status, name) = error.code();
            tracing::warn!(error = name, "{what}: {status}: {error}");
            error.response()
        }
    }
}

async fn dispatch(request: Request<Incoming>, signed: &Signed) -> Result<Response<Body>, CallError> {
    let Some(authority) = request.uri().authority().cloned() else {
        return Err(CallError::InvalidRequest(
            "this is an HTTP proxy: set HTTP_PROXY=http://localhost:8055, and request http://name:port/path of a machine".to_owned(),
        ));
    };
    let host = Host::parse(authority.host());
    if request.method() == Method::CONNECT {
        let port = authority.port_u16().unwrap_or(443);
        return match host {
            Some(host) if signed.is_for(&host, port) => Err(no_tunnel(&host, port)),
            _ => direct::tunnel(request, authority.host(), port).await,
        };
    }
    if request.uri().scheme_str() != Some("http") {
        return Err(CallError::InvalidRequest(format!(
            "only http:// can be requested here: for TLS to the machine write http://{}:443/",
            authority.host()
        )));
    }
    let port = authority.port_u16().unwrap_or(80);
    match host {
        Some(host) if signed.is_for(&host, port) => signed.send(request, &host, port).await,
        _ => direct::send(request, &authority, port).await,
    }
}

fn no_tunnel(host: &Host, port: u16) -> CallError {
    CallError::TunnelRefused(format!(
        "the tailnet's proxy takes requests, and no tunnels: instead of https://{host}:{port}/ request http://{host}:{port}/, \
         which is sent on by https if the port is 443, or else with the header 'ts-https: true'"
    ))
}
