//! Requests with an absolute-form target (RFC 9112 section 3.2.2): sent on, and their responses sent back.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, Version, header, request::Parts, uri::PathAndQuery};
use http_body_util::{Either, Full};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::select;

use crate::doors::{
    flow::Thaws,
    http_proxy::{
        headers,
        pool::Pool,
        response::{Body, ProxyError},
    },
    outbound::{Outbound, Upstream},
    target::Target,
};

/// Sends requests on. Clones share the kept connections.
#[derive(Clone)]
pub(crate) struct Forwarder {
    outbound: Outbound,
    thaws: Thaws,
    pool: Pool,
}

impl Forwarder {
    pub(crate) fn new(outbound: Outbound, thaws: Thaws) -> Self {
        Self {
            outbound,
            thaws,
            pool: Pool::default(),
        }
    }

    /// Sends `request` to `target`, over a kept connection if there is one. Where that turns out to be dead, the request goes
    /// out once more over a new one, if it has not left or may be repeated.
    pub(crate) async fn forward(
        &self,
        target: &Target,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ProxyError> {
        let version = request.version();
        let (head, body) = request.into_parts();
        let head = outgoing(head, target)?;
        let repeatable = body.is_end_stream() && head.method.is_idempotent();
        let mut request = Request::from_parts(head.clone(), body_of(body));
        if let Some((mut sender, path)) = self.pool.take(target, self.outbound.path(), repeatable).await {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.respond(target, sender, path, response, version)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None if repeatable => request = Request::from_parts(head, Either::Right(Full::default())),
                    None => return Err(broken(target, &error.into_error())),
                },
            }
        }
        let (mut sender, path) = self.connect(target).await?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| broken(target, &error))?;
        Ok(self.respond(target, sender, path, response, version))
    }

    async fn connect(&self, target: &Target) -> Result<(SendRequest<Body>, Option<u64>), ProxyError> {
        let Upstream { stream, path } = self.outbound.open(&target.host, target.port).await?;
        let killed = self.thaws.killed(path, SystemTime::now());
        let connecting = http1::Builder::new()
            .preserve_header_case(true)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = connecting.await.map_err(|error| broken(target, &error))?;
        tokio::spawn(async move {
            select! {
                // Its error is the request's too.
                ended = connection => if let Err(error) = ended {
                    tracing::debug!("a connection for HTTP broke: {error}");
                },
                () = killed => {}
            }
        });
        Ok((sender, path))
    }

    fn respond(
        &self,
        target: &Target,
        sender: SendRequest<Body>,
        path: Option<u64>,
        response: Response<Incoming>,
        client: Version,
    ) -> Response<Body> {
        self.pool.put(target.clone(), sender, path);
        let (mut head, body) = response.into_parts();
        headers::forward(&mut head.headers, head.version);
        headers::remove_reserved(&mut head.headers);
        head.version = client;
        Response::from_parts(head, Either::Left(body))
    }
}

/// The head as the target gets it: with the path alone in the request line, and the host of the URL (RFC 9112 section 3.2.2).
fn outgoing(mut head: Parts, target: &Target) -> Result<Parts, ProxyError> {
    headers::forward(&mut head.headers, head.version);
    let authority = head.uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = HeaderValue::try_from(host)
        .map_err(|_| ProxyError::invalid_request(format!("'{target}' cannot be sent as a host header")))?;
    head.headers.insert(header::HOST, host);
    let path = head.uri.path_and_query().cloned();
    head.uri = match path {
        // RFC 9110 section 9.3.7: the server as a whole.
        None if head.method == Method::OPTIONS => Uri::from_static("*"),
        path => path.unwrap_or(PathAndQuery::from_static("/")).into(),
    };
    head.version = Version::HTTP_11;
    Ok(head)
}

fn body_of(body: Incoming) -> Body {
    if body.is_end_stream() {
        return Either::Right(Full::<Bytes>::default());
    }
    Either::Left(body)
}

fn broken(target: &Target, error: &hyper::Error) -> ProxyError {
    ProxyError::broken(format!(
        "the connection to {target} broke before its response: {error}; the target may have seen the request"
    ))
}
