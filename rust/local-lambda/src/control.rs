//! The control socket: HTTP/1.1 over a unix socket, for programs that look at environments or end one.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use crate::fleet::{Fleet, SpindownError};

/// The socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: std::os::unix::net::UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Makes the socket. A file that a dead process left there is replaced.
    ///
    /// # Errors
    /// What the system says; `AddrInUse` if somebody listens there.
    pub fn bind(path: &Path) -> io::Result<Self> {
        use std::os::unix::net::{UnixListener, UnixStream};
        let bound = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && UnixStream::connect(path).is_err() => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            outcome => outcome,
        };
        let listener = bound?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Serves until it is dropped.
    ///
    /// # Errors
    /// What accepting a connection says, if it fails for good.
    pub async fn serve(&self, fleet: Arc<Fleet>) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (socket, _) = accepted?;
                    let fleet = fleet.clone();
                    connections.spawn(async move {
                        let service = service_fn(async |request| Ok::<_, Infallible>(handle(&fleet, &request)));
                        let connection = hyper::server::conn::http1::Builder::new();
                        if let Err(error) = connection.serve_connection(TokioIo::new(socket), service).await {
                            tracing::debug!(%error, "a connection to the control socket broke");
                        }
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the control socket stays behind");
        }
    }
}

/// `GET /environments`, `POST /environments/{id}/spindown`.
fn handle<B>(fleet: &Fleet, request: &Request<B>) -> Response<Full<Bytes>> {
    let segments: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    match (request.method(), segments.as_slice()) {
        (&Method::GET, ["environments"]) => answer(StatusCode::OK, &json!({ "environments": fleet.describe() })),
        (&Method::POST, ["environments", id, "spindown"]) => {
            let outcome = id
                .parse()
                .map_err(|_| SpindownError::Unknown)
                .and_then(|id| fleet.spin_down(id));
            match outcome {
                Ok(()) => answer(StatusCode::ACCEPTED, &json!({ "status": "OK" })),
                Err(error) => {
                    let unknown = error == SpindownError::Unknown;
                    let status = if unknown {
                        StatusCode::NOT_FOUND
                    } else {
                        StatusCode::CONFLICT
                    };
                    answer(status, &json!({ "message": format!("environment {id}: {error}") }))
                }
            }
        }
        _ => {
            let message = "there are GET /environments and POST /environments/{id}/spindown";
            answer(StatusCode::NOT_FOUND, &json!({ "message": message }))
        }
    }
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
