//! HTTP/1.1 servers of the testbed's own.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::http_call::CallError;

/// Answers the requests of one connection by `answer`, whose error ends it.
pub async fn serve<A>(stream: TcpStream, answer: impl Fn(Request<Bytes>) -> A)
where
    A: Future<Output = Result<Response<Bytes>, CallError>>,
{
    let service = service_fn(|request: Request<Incoming>| {
        let answer = &answer;
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let response = answer(Request::from_parts(head, body)).await?;
            Ok::<_, CallError>(response.map(Full::new))
        }
    });
    // A caller that goes away in the middle is one of the cases that tests are about.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
