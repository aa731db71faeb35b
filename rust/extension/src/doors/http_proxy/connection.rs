//! One client that speaks HTTP.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use http::{Method, Request, Response};
use http_body_util::{Either, Full};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::service_fn,
    upgrade::{OnUpgrade, Parts},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::doors::{
    connections::Serve,
    flow::{Thaws, carry},
    http_proxy::{
        forward::Forwarder,
        response::{Body, ProxyError},
    },
    outbound::{Outbound, Upstream},
    target::Target,
    throttled_log::ThrottledLog,
};

/// What clients are served with. Clones share it.
#[derive(Clone)]
pub(crate) struct HttpProxy {
    outbound: Outbound,
    forwarder: Forwarder,
    log: Arc<ThrottledLog>,
    thaws: Thaws,
}

/// A tunnel that was granted, and begins when the client has been told so.
struct Tunnel {
    client: OnUpgrade,
    upstream: Upstream,
    target: Target,
}

/// At most one for each connection: what follows CONNECT is not HTTP.
type Granted = Arc<Mutex<Option<Tunnel>>>;

impl Serve for HttpProxy {
    async fn serve(self, client: TcpStream) {
        let granted = Granted::default();
        let service = service_fn(|request| {
            let (this, granted) = (self.clone(), Arc::clone(&granted));
            async move { Ok::<_, Infallible>(this.respond(request, &granted).await) }
        });
        let served = serve_http(client, service).await;
        let tunnel = granted.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (served, tunnel) {
            (Ok(()), Some(tunnel)) => {
                let target = tunnel.target.clone();
                if let Err(error) = self.run(tunnel).await {
                    // One end went away: the other one sees that.
                    tracing::debug!("the tunnel to {target} broke: {error}");
                }
            }
            (Ok(()), None) => {}
            (Err(error), _) if error.is_parse() => {
                self.log.warn(format!("an HTTP client cannot be served: {error}"));
            }
            (Err(error), _) => tracing::debug!("a client of the HTTP proxy went away: {error}"),
        }
    }

    async fn reject(self, client: TcpStream) {
        let service = service_fn(|_| async {
            let mut response: Response<Body> = ProxyError::too_many_connections().into();
            let close = http::HeaderValue::from_static("close");
            response.headers_mut().insert(http::header::CONNECTION, close);
            Ok::<_, Infallible>(response)
        });
        if let Err(error) = serve_http(client, service).await {
            tracing::debug!("a client did not wait for its response: {error}");
        }
    }
}

async fn serve_http<S>(client: TcpStream, service: S) -> hyper::Result<()>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    http1::Builder::new()
        .preserve_header_case(true)
        .half_close(true)
        .serve_connection(TokioIo::new(client), service)
        .with_upgrades()
        .await
}

impl HttpProxy {
    pub(crate) fn new(outbound: Outbound, log: Arc<ThrottledLog>, thaws: Thaws) -> Self {
        Self {
            forwarder: Forwarder::new(outbound.clone(), thaws.clone()),
            outbound,
            log,
            thaws,
        }
    }

    async fn respond(&self, request: Request<Incoming>, granted: &Granted) -> Response<Body> {
        let outcome = match Target::of(request.method(), request.uri()) {
            Ok(target) if request.method() == Method::CONNECT => self.open(&target, request, granted).await,
            Ok(target) => {
                let forwarded = self.forwarder.forward(&target, request).await;
                forwarded.map_err(|error| (target.to_string(), error))
            }
            Err(message) => Err(("a target".to_owned(), ProxyError::invalid_request(message))),
        };
        outcome.unwrap_or_else(|(target, error)| {
            self.log
                .warn(format!("no response from {target}: {}: {}", error.name, error.message));
            error.into()
        })
    }

    async fn open(
        &self,
        target: &Target,
        request: Request<Incoming>,
        granted: &Granted,
    ) -> Result<Response<Body>, (String, ProxyError)> {
        let opened = self.outbound.open(&target.host, target.port).await;
        let upstream = opened.map_err(|refusal| (target.to_string(), refusal.into()))?;
        let tunnel = Tunnel {
            client: hyper::upgrade::on(request),
            upstream,
            target: target.clone(),
        };
        *granted.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
        Ok(Response::new(Either::Right(Full::default())))
    }

    async fn run(&self, tunnel: Tunnel) -> io::Result<()> {
        let upgraded = tunnel.client.await.map_err(io::Error::other)?;
        let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            return Err(io::Error::other("BUG: the tunnel's client is not a TCP connection"));
        };
        carry(io.into_inner(), tunnel.upstream, &read_buf, &self.thaws)
            .await
            .map(drop)
    }
}
