//! An HTTP server that answers each request as a test scripts it, and records the requests.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
}

/// Makes a response: its status and its body. `None`: no response at all.
type Respond = dyn Fn(&Received) -> Option<(u16, String)> + Send + Sync;

/// The running server.
#[derive(Clone)]
pub(crate) struct FakeHttp {
    respond: Arc<Respond>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl FakeHttp {
    pub(crate) fn new(respond: impl Fn(&Received) -> Option<(u16, String)> + Send + Sync + 'static) -> Self {
        Self {
            respond: Arc::new(respond),
            received: Arc::default(),
        }
    }

    /// The requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Serves on a port of loopback; returns its address.
    pub(crate) async fn on_loopback(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let fake = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(fake.clone().serve(stream));
            }
        });
        address
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request| self.answer(request));
        // A client that goes away is not an error.
        let _ = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let authorization = head.headers.get("authorization");
        let received = Received {
            line: format!("{} {}", head.method, head.uri),
            authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
            body: String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap(),
        };
        self.received.lock().unwrap().push(received.clone());
        match (self.respond)(&received) {
            Some((status, body)) => {
                // The Extensions API identifies the extension by it; no other client reads it.
                let response = Response::builder()
                    .status(status)
                    .header("lambda-extension-identifier", "one");
                Ok(response.body(Full::from(body)).unwrap())
            }
            None => std::future::pending().await,
        }
    }
}
