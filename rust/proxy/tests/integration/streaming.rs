//! Answers that leave as they come, as they stand on the Runtime API's wire.

use base64::{Engine, prelude::BASE64_STANDARD};
use proxy::config::InvokeMode::{self, ResponseStream};
use serde_json::{Value, json};

use crate::fakes::{Dial, FakeRuntimeApi, Turn, World, unavailable};

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
    let posted = world.invoke(ResponseStream, world.event(|_| ())).await.0;
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
    let mut runtime_api = FakeRuntimeApi::start(&world, ResponseStream, world.event(|_| ())).await;
    // The target never ends its response: what is read here left before that.
    runtime_api.posted(|text| text.ends_with("first\r\n")).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_with_error_trailers() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort";
    let world = World::new(None, &[], &[Turn::AnswerAndClose(cut)], |_| ()).await;
    let posted = world.invoke(ResponseStream, world.event(|_| ())).await.0;
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
    let event = world.event(|event| event["headers"] = json!({}));
    let posted = world.invoke(ResponseStream, event).await.0;
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
        world.invoke(ResponseStream, world.event(|_| ())).await;
    }
    assert_eq!(world.dials(), 1);
}

#[tokio::test]
async fn the_invocations_id_is_echoed_whatever_is_posted() {
    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for mode in [InvokeMode::Buffered, ResponseStream] {
        for (turns, payload) in [
            (&[Turn::Answer(ok)][..], None),
            (&[Turn::Close], None),
            (&[], Some(json!({"warmUp": {"until": 0}}))),
            (&[], Some(json!({"neither": "request nor warm-up"}))),
        ] {
            let world = World::new(None, &[], turns, |_| ()).await;
            let payload = payload.unwrap_or_else(|| world.event(|_| ()));
            let posted = world.invoke(mode, payload).await.0;
            assert!(
                posted.contains("lambda-runtime-invocation-id: the-invocation\r\n"),
                "{posted}"
            );
        }
    }
}

#[tokio::test]
async fn both_modes_respond_alike() {
    let cases = [
        (
            None,
            &[][..],
            &b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\nset-cookie: a=1\r\n\r\nok"[..],
        ),
        (None, &[Dial::Refuse], b""),
        (Some(unavailable(Some(1))), &[], b""),
    ];
    for (route, dials, answer) in cases {
        let turns = [Turn::Answer(answer), Turn::Answer(answer)];
        let world = async || World::new(route.clone(), dials, &turns, |_| ()).await;
        let (first, second) = (world().await, world().await);
        let event = |event: &mut Value| event["headers"]["ts-target-port"] = "8080".into();
        let event = |world: &World| {
            if dials.is_empty() {
                world.event(|_| ())
            } else {
                world.event(event)
            }
        };
        let whole = first.invoke(InvokeMode::Buffered, event(&first)).await;
        let mut whole: Value = serde_json::from_str(whole.body()).unwrap();
        let (head, body, _) = split(&second.invoke(ResponseStream, event(&second)).await.0);
        assert_eq!(whole["body"], body);
        for field in ["body", "isBase64Encoded"] {
            whole.as_object_mut().unwrap().remove(field);
        }
        assert_eq!(whole, head);
    }
}

#[tokio::test]
async fn a_payload_that_is_no_request_fails_the_invocation_in_both_modes() {
    for mode in [InvokeMode::Buffered, ResponseStream] {
        let world = World::new(None, &[], &[], |_| ()).await;
        let posted = world.invoke(mode, json!({"a": 1})).await;
        assert!(posted.line().ends_with("/the-id/error HTTP/1.1"), "{posted:?}");
        assert!(posted.body().contains("must be a Function URL's request"), "{posted:?}");
    }
}
