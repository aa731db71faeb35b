//! Where a response begins and ends, whatever the target says of it: each ends right, or as an error.

use std::{net::SocketAddr, time::Duration};

use proxy::config::Config;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::fakes::{Dial, Turn, World, socks_connection, target};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const TOO_LARGE: &[u8] = b"HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nfull";

async fn world(turns: &[Turn]) -> World {
    World::new(None, &[], turns, |_| ()).await
}

/// The status, the length and the body of a response.
fn told(answer: &Value) -> (u64, Option<&str>, &str) {
    (
        answer["statusCode"].as_u64().unwrap(),
        answer["headers"]["content-length"].as_str(),
        answer["body"].as_str().unwrap(),
    )
}

#[tokio::test]
async fn a_length_beside_a_transfer_coding_stays_behind() {
    let both = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let world = world(&[Turn::Answer(both)]).await;
    assert_eq!(told(&world.get().await), (200, None, "hello"));
}

#[tokio::test]
async fn a_length_that_comes_twice_is_one() {
    let twice = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello";
    let world = world(&[Turn::Answer(twice)]).await;
    assert_eq!(told(&world.get().await), (200, Some("5"), "hello"));
}

#[tokio::test]
async fn lengths_that_differ_are_an_error() {
    let differ = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nhello";
    let world = world(&[Turn::AnswerAndClose(differ)]).await;
    let answer = world.get().await;
    assert_eq!(answer["headers"]["ts-error-name"], "TargetUnreachable", "{answer}");
    assert_eq!(answer["headers"]["ts-error-sent"], "unknown", "{answer}");
}

#[tokio::test]
async fn a_transfer_coding_that_was_not_asked_for_is_an_error_and_never_content() {
    for head in [
        "transfer-encoding: gzip",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: identity\r\ncontent-length: 5",
        "transfer-encoding: xchunked",
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let world = world(&[Turn::AnswerAndClose(text.leak().as_bytes()), Turn::Answer(OK)]).await;
        let answer = world.get().await;
        assert_eq!(
            answer["headers"]["ts-error-name"], "TargetUnreachable",
            "{head}: {answer}"
        );
        assert_eq!(answer["headers"]["ts-error-sent"], "yes", "{head}: {answer}");
        assert_eq!(told(&world.get().await), (200, Some("2"), "ok"), "{head}");
    }
}

#[tokio::test]
async fn what_comes_after_a_response_never_meets_the_next_request() {
    let more = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    for method in ["GET", "POST"] {
        let world = world(&[Turn::Answer(more), Turn::Answer(OK)]).await;
        assert_eq!(told(&world.get().await), (200, Some("2"), "ok"));
        let answer = world
            .send(|event| event["requestContext"]["http"]["method"] = method.into())
            .await;
        assert_eq!(told(&answer), (200, Some("2"), "ok"), "{method}");
    }
}

#[tokio::test]
async fn a_response_without_a_length_ends_with_its_connection() {
    let world = world(&[
        Turn::AnswerAndClose(b"HTTP/1.1 200 OK\r\n\r\nall of it"),
        Turn::Answer(OK),
    ])
    .await;
    assert_eq!(told(&world.get().await), (200, None, "all of it"));
    assert_eq!(told(&world.get().await), (200, Some("2"), "ok"));
}

#[tokio::test]
async fn a_response_without_a_length_that_tailscaleds_end_cut_off_is_an_error() {
    let turns = [Turn::AnswerAndClose(b"HTTP/1.1 200 OK\r\n\r\nhalf of")];
    let daemon = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socks = daemon.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = daemon.accept().await.unwrap();
        drop(daemon);
        socks_connection(stream, Dial::Connect).await;
    });
    let world = World::with_target(None, &[], target(&turns).await, |config| config.socks = socks).await;
    let answer = world.get().await;
    assert_eq!(answer["headers"]["ts-error-name"], "TailnetUnavailable", "{answer}");
    assert_eq!(answer["headers"]["ts-error-sent"], "yes", "{answer}");
}

/// A target that answers with [`TOO_LARGE`] as soon as it has read the head of a request, and then does as `then` says.
async fn target_that_reads_no_body<F>(then: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 64];
            stream.read_exact(&mut head).await.unwrap();
            stream.write_all(TOO_LARGE).await.unwrap();
            tokio::spawn(then(stream));
        }
    });
    address
}

async fn upload(address: SocketAddr, change: impl FnOnce(&mut Config)) -> Value {
    let world = World::with_target(None, &[], (address, Default::default()), change).await;
    world.post(&"x".repeat(4_000_000)).await
}

#[tokio::test]
async fn a_final_response_to_an_upload_that_is_still_on_its_way_comes_back() {
    let stays_open = target_that_reads_no_body(|stream| async move {
        sleep(Duration::from_secs(60)).await;
        drop(stream);
    });
    let half_closes = target_that_reads_no_body(|mut stream| async move {
        stream.shutdown().await.unwrap();
        sleep(Duration::from_secs(60)).await;
    });
    for (name, address) in [("stays open", stays_open.await), ("half closes", half_closes.await)] {
        for _ in 0..10 {
            assert_eq!(told(&upload(address, |_| ()).await), (413, Some("4"), "full"), "{name}");
        }
    }
}
