//! Answers that leave as they come, as they stand on the Runtime API's wire.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use lambda_http::lambda_runtime::{LambdaInvocation, tower::Service};
use proxy::stream::Streamer;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::fakes::{Turn, World, context};

/// How long anything may take here.
const LIMIT: Duration = Duration::from_secs(5);

/// Starts one invocation, and returns the connection on which its answer is posted.
pub(crate) async fn invoke(world: &World, event: &Value) -> TcpStream {
    let runtime_api = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut streamer = Streamer::new(
        Arc::clone(&world.handler),
        &runtime_api.local_addr().unwrap().to_string(),
    );
    let (parts, ()) = http::Response::new(()).into_parts();
    let body = serde_json::to_vec(event).unwrap().into();
    tokio::spawn(streamer.call(LambdaInvocation {
        parts,
        body,
        context: context(),
    }));
    timeout(LIMIT, runtime_api.accept()).await.unwrap().unwrap().0
}

/// Reads until what was read satisfies `enough`.
pub(crate) async fn read(stream: &mut TcpStream, enough: impl Fn(&str) -> bool) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        while !enough(&String::from_utf8_lossy(&bytes)) {
            let mut chunk = [0; 65536];
            let count = stream.read(&mut chunk).await.unwrap();
            assert!(
                count > 0,
                "the connection ended after {:?}",
                String::from_utf8_lossy(&bytes)
            );
            bytes.extend_from_slice(&chunk[..count]);
        }
    };
    timeout(LIMIT, reading).await.expect("enough was not read in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The head (as JSON), the body without its chunk sizes, and the trailers of a posted answer.
fn split(posted: &str) -> (Value, String, String) {
    let (_, chunked) = posted.split_once("\r\n\r\n").unwrap();
    let (chunks, trailers) = chunked.split_once("0\r\n").unwrap();
    let data: String = chunks.split("\r\n").skip(1).step_by(2).collect();
    let (head, body) = data.split_once("\0\0\0\0\0\0\0\0").unwrap();
    (
        serde_json::from_str(head).unwrap(),
        body.to_owned(),
        trailers.to_owned(),
    )
}

#[tokio::test]
async fn an_answer_is_posted_as_head_delimiter_and_body() {
    let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\nset-cookie: a=1\r\n\r\nok";
    let world = World::new(None, &[], &[Turn::Answer(answer)], |_| ()).await;
    let mut stream = invoke(&world, &world.event(|_| ())).await;
    let posted = read(&mut stream, |text| text.ends_with("0\r\n\r\n")).await;
    assert!(
        posted.starts_with("POST /2018-06-01/runtime/invocation/the-id/response HTTP/1.1\r\n"),
        "{posted}"
    );
    assert!(
        posted.contains("lambda-runtime-function-response-mode: streaming\r\n"),
        "{posted}"
    );
    assert!(
        posted.contains("content-type: application/vnd.awslambda.http-integration-response\r\n"),
        "{posted}"
    );
    let (head, body, _) = split(&posted);
    assert_eq!(
        head,
        json!({"statusCode": 201, "headers": {"content-length": "2"}, "cookies": ["a=1"]})
    );
    assert_eq!(body, "ok");
}

#[tokio::test]
async fn bytes_leave_when_the_target_sends_them() {
    let start = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let world = World::new(None, &[], &[Turn::Answer(start)], |_| ()).await;
    let mut stream = invoke(&world, &world.event(|_| ())).await;
    // The target never ends its answer: what is read here left before that.
    read(&mut stream, |text| text.ends_with("first\r\n")).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_with_error_trailers() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort";
    let world = World::new(None, &[], &[Turn::AnswerAndClose(cut)], |_| ()).await;
    let mut stream = invoke(&world, &world.event(|_| ())).await;
    let posted = read(&mut stream, |text| {
        text.contains("0\r\nlambda") && text.ends_with("\r\n\r\n")
    })
    .await;
    let (_, body, trailers) = split(&posted);
    assert_eq!(body, "short");
    assert!(
        trailers.contains("lambda-runtime-function-error-type: TargetUnreachable\r\n"),
        "{trailers}"
    );
    let error = trailers
        .lines()
        .find_map(|line| line.strip_prefix("lambda-runtime-function-error-body: "))
        .unwrap();
    let error: Value = serde_json::from_slice(&BASE64_STANDARD.decode(error).unwrap()).unwrap();
    assert_eq!(error["errorType"], "TargetUnreachable");
}

#[tokio::test]
async fn the_proxys_own_errors_are_streamed_as_answers() {
    let world = World::new(None, &[], &[], |_| ()).await;
    let mut stream = invoke(&world, &world.event(|event| event["headers"] = json!({}))).await;
    let posted = read(&mut stream, |text| text.ends_with("0\r\n\r\n")).await;
    let (head, body, _) = split(&posted);
    assert_eq!(
        (&head["statusCode"], &head["headers"]["ts-error-name"]),
        (&400.into(), &"InvalidRequest".into())
    );
    assert!(body.contains("ts-target-ip"), "{body}");
}

#[tokio::test]
async fn the_connection_is_kept_after_a_streamed_answer() {
    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let world = World::new(None, &[], &[Turn::Answer(ok), Turn::Answer(ok)], |_| ()).await;
    for _ in 0..2 {
        let mut stream = invoke(&world, &world.event(|_| ())).await;
        read(&mut stream, |text| text.ends_with("0\r\n\r\n")).await;
        stream
            .write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
    }
    assert_eq!(world.dials(), 1);
}
