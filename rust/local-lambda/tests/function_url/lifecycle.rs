//! Connections, and the end of the server.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use local_lambda::invocation::Answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::client::{head_bytes, request, signed};
use super::url::{PATIENCE, Url, settings};

/// A URL whose function tells that it was invoked, and answers when it is told to.
async fn slow_url() -> (Url, Arc<Notify>, Arc<Notify>, oneshot::Receiver<()>) {
    let (invoked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (done, finished) = oneshot::channel();
    let done = std::sync::Mutex::new(Some(done));
    let url = Url::start(settings("BUFFERED"), {
        let (invoked, go_on) = (Arc::clone(&invoked), Arc::clone(&go_on));
        move |_| {
            let (invoked, go_on) = (Arc::clone(&invoked), Arc::clone(&go_on));
            let done = done.lock().unwrap().take();
            Box::pin(async move {
                invoked.notify_one();
                go_on.notified().await;
                if let Some(done) = done {
                    done.send(()).unwrap();
                }
                Ok(Answer::Buffered(Bytes::from_static(b"\"done\"")))
            })
        }
    })
    .await;
    (url, invoked, go_on, finished)
}

async fn begin(url: &Url) -> TcpStream {
    let request = signed(request(Method::GET, "/", url.address, "")).await;
    let mut stream = TcpStream::connect(url.address).await.unwrap();
    stream.write_all(head_bytes(&request).as_bytes()).await.unwrap();
    stream
}

async fn read_to_end(mut stream: TcpStream) -> String {
    let mut received = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut received))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(received).unwrap()
}

#[tokio::test]
async fn an_invocation_goes_on_when_its_client_hangs_up() {
    let (url, invoked, go_on, finished) = slow_url().await;
    let client = begin(&url).await;
    timeout(PATIENCE, invoked.notified()).await.unwrap();
    drop(client);
    go_on.notify_one();
    timeout(PATIENCE, finished).await.unwrap().unwrap();
    url.stop().await;
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let url = Url::answering("\"hi\"").await;
    let head = head_bytes(&signed(request(Method::GET, "/", url.address, "")).await);
    let mut stream = TcpStream::connect(url.address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"\"hi\"") {
            assert_ne!(
                timeout(PATIENCE, stream.read_buf(&mut received))
                    .await
                    .unwrap()
                    .unwrap(),
                0
            );
        }
    }
    assert_eq!(url.invocations(), 2);
}

#[tokio::test]
async fn a_request_that_breaks_off_does_not_reach_the_function() {
    let url = Url::answering("\"hi\"").await;
    let mut head = signed(request(Method::POST, "/", url.address, "whole")).await;
    head.headers_mut().insert("content-length", 5.into());
    let mut stream = TcpStream::connect(url.address).await.unwrap();
    stream.write_all((head_bytes(&head) + "who").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(!read_to_end(stream).await.contains(" 200 "));
    assert_eq!(url.invocations(), 0);
}

#[tokio::test]
async fn stopping_closes_idle_connections() {
    let url = Url::answering("\"hi\"").await;
    let idle = TcpStream::connect(url.address).await.unwrap();
    // One answer: by then the idle connection has been accepted, too.
    super::client::get(url.address).await;
    url.stop().await;
    assert_eq!(read_to_end(idle).await, "");
}

#[tokio::test]
async fn stopping_lets_a_request_under_way_end() {
    let (url, invoked, go_on, _finished) = slow_url().await;
    let client = begin(&url).await;
    timeout(PATIENCE, invoked.notified()).await.unwrap();
    let stopped = tokio::spawn(url.stop());
    go_on.notify_one();
    assert!(read_to_end(client).await.ends_with("\"done\""));
    stopped.await.unwrap();
}

#[tokio::test]
async fn stopping_cuts_off_a_request_that_does_not_end() {
    let (url, invoked, _go_on, _finished) = slow_url().await;
    let client = begin(&url).await;
    timeout(PATIENCE, invoked.notified()).await.unwrap();
    url.stop().await;
    assert_eq!(read_to_end(client).await, "");
}
