//! HTTP/1.1 servers of the testbed's own.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::Error;

/// Answers the requests of all connections by `answer`, until accepting fails.
pub async fn serve_all<A>(listener: TcpListener, answer: impl Fn(Request<Bytes>) -> A + Clone + Send + Sync + 'static)
where
    A: Future<Output = Result<Response<Bytes>, Error>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move { serve(stream, answer).await });
    }
}

/// Answers the requests of one connection by `answer`, whose error ends it.
pub async fn serve<A>(stream: TcpStream, answer: impl Fn(Request<Bytes>) -> A)
where
    A: Future<Output = Result<Response<Bytes>, Error>>,
{
    let service = service_fn(|request: Request<Incoming>| {
        let answer = &answer;
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let response = answer(Request::from_parts(head, body)).await?;
            Ok::<_, Error>(response.map(Full::new))
        }
    });
    // A caller that goes away in the middle is one of the cases that tests are about.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
