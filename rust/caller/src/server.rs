//! The HTTP proxy that the function's clients talk to.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response};
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tailnet::host::Host;
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};

use crate::{
    body::{Body, whole},
    config::Config,
    direct,
    error::CallError,
    signed::Signed,
};

/// How many connections are served at once: further ones wait, as a function may have 1,024 files open.
const MAX_CONNECTIONS: u32 = 256;
/// The port of TLS.
const HTTPS: u16 = 443;
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
                    let client = Client {
                        signed: Arc::clone(&self.signed),
                        ending: self.ending.subscribe(),
                        _permit: Arc::new(permit),
                    };
                    tokio::spawn(serve(stream, client));
                }
                Err(error) => {
                    tracing::warn!("a connection to the caller's proxy was not accepted: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Closes the port, and gives the requests that are open up to `limit` for their responses. Tunnels to elsewhere are not waited for.
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

/// What a client's connection is served with, and the tunnel that may come of it.
#[derive(Clone)]
struct Client {
    signed: Arc<Signed>,
    ending: watch::Receiver<bool>,
    /// Counts among the connections until the last of it is gone.
    _permit: Arc<Result<OwnedSemaphorePermit, AcquireError>>,
}

async fn serve(stream: TcpStream, client: Client) {
    // Without it, small responses wait for an acknowledgement; it matters to speed alone.
    drop(stream.set_nodelay(true));
    let ending = client.ending.clone();
    let service = move |request: Request<Incoming>| {
        let client = client.clone();
        async move {
            let what = format!(
                "{} {}",
                request.method(),
                request.uri().authority().map_or("", |authority| authority.as_str())
            );
            respond(&what, dispatch(request, &client).await)
        }
    };
    if let Err(error) = serve_requests(TokioIo::new(stream), service, ending).await {
        tracing::debug!("a client's connection ended early: {error}");
    }
}

/// Serves requests until the client or the process ends.
async fn serve_requests<I, F>(
    io: I,
    service: impl Fn(Request<Incoming>) -> F,
    mut ending: watch::Receiver<bool>,
) -> hyper::Result<()>
where
    I: Read + Write + Unpin + Send + 'static,
    F: Future<Output = Response<Body>>,
{
    let service = service_fn(move |request| {
        let response = service(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // The guard that the wait returns must not be held over the next one. Without a sender the process ends.
    let ending = async { drop(ending.wait_for(|ending| *ending).await) };
    select! {
        ended = connection.as_mut() => ended,
        () = ending => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// Logs what became of a request, which may be an error.
fn respond(what: &str, outcome: Result<Response<Body>, CallError>) -> Response<Body> {
    match outcome {
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

async fn dispatch(request: Request<Incoming>, client: &Client) -> Result<Response<Body>, CallError> {
    let Some(authority) = request.uri().authority().cloned() else {
        return Err(CallError::InvalidRequest(
            "this is an HTTP proxy: set HTTP_PROXY=http://localhost:8055, and request http://name:port/path of a machine".to_owned(),
        ));
    };
    let host = Host::parse(authority.host());
    let signed = &client.signed;
    if request.method() == Method::CONNECT {
        let port = authority.port_u16().unwrap_or(443);
        return match host {
            Some(host) if signed.is_for(&host, port) && port == HTTPS => {
                Err(CallError::TunnelRefused(no_tls(&host, port)))
            }
            Some(host) if signed.is_for(&host, port) => Ok(tunnel(request, host, port, client.clone())),
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

/// Opens a tunnel into the tailnet, and serves the requests that come by it: Node.js's `fetch` sends its requests so, those for
/// `http` as well.
fn tunnel(request: Request<Incoming>, host: Host, port: u16, client: Client) -> Response<Body> {
    tokio::spawn(async move {
        // An error is the end of the connection, which the client sees.
        let Ok(stream) = hyper::upgrade::on(request).await else {
            return;
        };
        let ending = client.ending.clone();
        let (host, signed) = (Arc::new(host), Arc::clone(&client.signed));
        let service = {
            let host = Arc::clone(&host);
            move |request: Request<Incoming>| {
                let (host, signed) = (Arc::clone(&host), Arc::clone(&signed));
                async move {
                    let what = format!("{} {host}:{port}, by a tunnel", request.method());
                    respond(&what, signed.send(request, &host, port).await)
                }
            }
        };
        match serve_requests(stream, service, ending).await {
            Ok(()) => {}
            Err(error) if error.is_parse() => tracing::warn!("a tunnel ended: {}", no_tls(&host, port)),
            Err(error) => tracing::debug!("a tunnel ended early: {error}"),
        }
    });
    Response::new(whole(Bytes::new()))
}

/// The requests must be read to be signed.
fn no_tls(host: &Host, port: u16) -> String {
    format!(
        "the tailnet's proxy takes requests, and no tunnels for TLS: instead of https://{host}:{port}/ request http://{host}:{port}/, \
         which is sent on by https if the port is 443, or else with the header 'ts-https: true'"
    )
}
