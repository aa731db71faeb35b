//! How a request travels: on a connection of its own, unless others follow at once.
//!
//! Between two requests the environment may have been frozen. A kept connection that died meanwhile would leave open
//! whether the other side heard what was sent on it; and a pool is a good deal of code for a call every few seconds.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use http::{HeaderValue, Response, Uri, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{client::TlsStream, rustls::pki_types::ServerName};

use super::{
    proxy::{ProxyVariables, tunnel},
    tls::PublicTls,
};

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// The longest answer that is read: secrets have 64 KB at most, and JSON doubles some characters.
const LONGEST_ANSWER: usize = 256 * 1024;

/// Not a byte of the request has left.
#[derive(Debug, Error)]
#[error("there is no connection to {host}: {source}")]
pub struct NotSent {
    host: String,
    source: io::Error,
}

/// Makes a connection for each request; keeps what it takes to resume a TLS session. Trusts the public certificate
/// authorities that are built in.
#[derive(Clone, Default)]
pub struct Wire {
    tls: PublicTls,
    sent: Arc<AtomicBool>,
    proxy: ProxyVariables,
}

impl Wire {
    /// The same, through a proxy where there is one.
    #[must_use]
    pub fn through(self, proxy: ProxyVariables) -> Self {
        Self { proxy, ..self }
    }

    /// A client that sets `sent` as soon as a request begins to leave: until then it is certain that it did not arrive.
    #[must_use]
    pub fn reporting(self, sent: Arc<AtomicBool>) -> Self {
        Self { sent, ..self }
    }

    async fn exchange(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        self.open(request.uri()).await?.call(request).await
    }

    /// Opens a connection to the host that `uri` names, for a few requests in a row: it must not be kept any longer than
    /// these take.
    pub async fn open(&self, uri: &str) -> Result<Connection, ConnectorError> {
        let uri = uri.parse().map_err(|error| ConnectorError::user(Box::new(error)))?;
        let (host, port, https) = destination(&uri)?;
        let not_sent = |source| {
            let host = host.clone();
            ConnectorError::io(NotSent { host, source }.into())
        };
        let connected = async {
            let stream = match self.proxy.intercept(&uri) {
                Some(proxy) => tunnel(&proxy, &host, port).await?,
                None => TcpStream::connect((host.trim_matches(['[', ']']), port)).await?,
            };
            stream.set_nodelay(true)?;
            if !https {
                return Ok(Stream::Plain(stream));
            }
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            Ok(Stream::Tls(Box::new(
                self.tls.connector()?.connect(name, stream).await?,
            )))
        };
        let connected = timeout(CONNECT_LIMIT, connected).await;
        let connected = connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(not_sent)?;
        let sent = Arc::clone(&self.sent);
        match connected {
            Stream::Plain(stream) => Connection::over(stream, sent).await,
            Stream::Tls(stream) => Connection::over(*stream, sent).await,
        }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

fn destination(uri: &Uri) -> Result<(String, u16, bool), ConnectorError> {
    let https = uri.scheme_str() != Some("http");
    let host = uri
        .host()
        .ok_or_else(|| ConnectorError::user(format!("{uri} has no host").into()))?;
    Ok((
        host.to_owned(),
        uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
        https,
    ))
}

/// An open connection. It ends when it is dropped.
#[derive(Debug)]
pub struct Connection {
    sender: http1::SendRequest<SdkBody>,
    sent: Arc<AtomicBool>,
    /// Reads and writes. Its errors are those of the requests as well.
    _driver: JoinSet<()>,
}

impl Connection {
    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        sent: Arc<AtomicBool>,
    ) -> Result<Self, ConnectorError> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut driver = JoinSet::new();
        driver.spawn(async { drop(connection.await) });
        Ok(Self {
            sender,
            sent,
            _driver: driver,
        })
    }

    /// Whether the other side has left it open so far.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request, and reads its response in full.
    pub async fn call(&mut self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let mut request = request
            .try_into_http1x()
            .map_err(|error| ConnectorError::user(error.into()))?;
        // HTTP/1.1 names the host in a header, and the path alone in the request line.
        let uri = std::mem::take(request.uri_mut());
        let host = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let host = HeaderValue::try_from(host).map_err(|error| ConnectorError::user(error.into()))?;
        request.headers_mut().insert(header::HOST, host);
        *request.uri_mut() = uri
            .path_and_query()
            .cloned()
            .unwrap_or(PathAndQuery::from_static("/"))
            .into();
        self.sent.store(true, Ordering::Relaxed);
        self.sender.ready().await.map_err(broken)?;
        let (head, body) = self.sender.send_request(request).await.map_err(broken)?.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER)
            .collect()
            .await
            .map_err(ConnectorError::io)?;
        HttpResponse::try_from(Response::from_parts(head, SdkBody::from(body.to_bytes())))
            .map_err(|error| ConnectorError::other(error.into(), None))
    }
}

fn broken(error: hyper::Error) -> ConnectorError {
    ConnectorError::io(error.into())
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().exchange(request))
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
