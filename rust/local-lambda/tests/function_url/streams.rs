//! Streamed answers.

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use local_lambda::function_url::STREAM_BYTES;
use local_lambda::invocation::{ANSWER_BYTES, Answer, StreamBroken};
use tokio::time::timeout;

use super::client::{exchange_bytes, get, head_bytes, request, signed, start};
use super::url::{PATIENCE, Url, settings, stream};

const WITH_PRELUDE: Option<&str> = Some("application/vnd.awslambda.http-integration-response");

fn streaming() -> local_lambda::function_url::Settings {
    settings("RESPONSE_STREAM")
}

fn prelude(json: &str) -> Bytes {
    Bytes::from([json.as_bytes(), &[0; 8]].concat())
}

async fn frame(body: &mut Incoming) -> Bytes {
    timeout(PATIENCE, body.frame())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap()
}

async fn signed_get(url: &Url) -> super::client::OneRequest {
    signed(request(Method::GET, "/", url.address, "")).await
}

#[tokio::test]
async fn bytes_leave_as_they_arrive() {
    let (function, answer) = stream(WITH_PRELUDE);
    let url = Url::streaming(streaming(), answer).await;
    let json = r#"{"statusCode": 201, "headers": {"Content-Type": "text/event-stream"}, "cookies": ["a=1", "b=2"]}"#;
    function.send(Ok(prelude(json))).await.unwrap();
    let (head, mut body) = start(signed_get(&url).await).await.into_parts();
    assert_eq!(head.status, StatusCode::CREATED);
    assert_eq!(head.headers["content-type"], "text/event-stream");
    assert_eq!(head.headers.get_all("set-cookie").iter().count(), 2);
    // Each event is received before the next is written.
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        function.send(Ok(Bytes::from(event))).await.unwrap();
        assert_eq!(frame(&mut body).await, event);
    }
    drop(function);
    assert!(timeout(PATIENCE, body.frame()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_prelude_may_come_in_any_pieces_with_the_body_at_its_heels() {
    let whole = [&prelude(r#"{"statusCode":203}"#)[..], b"body\0\0\0\0\0\0\0\0more"].concat();
    for cut in 1..whole.len() {
        let (function, answer) = stream(WITH_PRELUDE);
        let url = Url::streaming(streaming(), answer).await;
        let (first, second) = (
            Bytes::copy_from_slice(&whole[..cut]),
            Bytes::copy_from_slice(&whole[cut..]),
        );
        tokio::spawn(async move {
            function.send(Ok(first)).await.unwrap();
            function.send(Ok(second)).await.unwrap();
        });
        let received = get(url.address).await;
        assert_eq!(received.status.as_u16(), 203, "cut at {cut}");
        assert_eq!(&received.body[..], b"body\0\0\0\0\0\0\0\0more", "cut at {cut}");
    }
}

#[tokio::test]
async fn without_a_prelude_it_is_a_200_of_its_type_or_of_octets() {
    for (sent, shown) in [(None, "application/octet-stream"), (Some("text/html"), "text/html")] {
        let (function, answer) = stream(sent);
        let url = Url::streaming(streaming(), answer).await;
        function
            .send(Ok(Bytes::from_static(b"{\"statusCode\":500}\0\0\0\0\0\0\0\0")))
            .await
            .unwrap();
        drop(function);
        let received = get(url.address).await;
        assert_eq!((received.status, received.body.len()), (StatusCode::OK, 26));
        assert_eq!(received.headers["content-type"], shown);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_complete() {
    let (function, answer) = stream(WITH_PRELUDE);
    let url = Url::streaming(streaming(), answer).await;
    let request = signed_get(&url).await;
    let bytes = tokio::spawn({
        let address = url.address;
        async move { exchange_bytes(address, head_bytes(&request).as_bytes()).await }
    });
    function.send(Ok(prelude("{}"))).await.unwrap();
    function.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
    function
        .send(Err(StreamBroken {
            reason: "the runtime died".into(),
        }))
        .await
        .unwrap();
    // The connection is closed although the client did not ask for that, and without the last chunk.
    let received = String::from_utf8(bytes.await.unwrap()).unwrap();
    assert!(received.contains("transfer-encoding: chunked\r\n"), "{received}");
    assert!(received.ends_with("\r\n\r\n4\r\nhalf\r\n"), "{received}");
}

#[tokio::test]
async fn a_stream_that_breaks_or_ends_within_its_prelude_is_a_502() {
    let broken = || {
        Err(StreamBroken {
            reason: "the runtime died".into(),
        })
    };
    let endings: [Vec<Result<Bytes, StreamBroken>>; 4] = [
        vec![Ok(Bytes::from_static(b"{\"statusCode\"")), broken()],
        vec![Ok(Bytes::from_static(b"{\"statusCode\": 200}\0\0\0\0"))],
        vec![Ok(prelude("not json"))],
        vec![Ok(Bytes::from(vec![b' '; 2_000_000]))],
    ];
    for chunks in endings {
        let (function, answer) = stream(WITH_PRELUDE);
        let url = Url::streaming(streaming(), answer).await;
        tokio::spawn(async move {
            for chunk in chunks {
                function.send(chunk).await.unwrap();
            }
        });
        let received = get(url.address).await;
        assert_eq!(
            (received.status, received.text()),
            (StatusCode::BAD_GATEWAY, "Internal Server Error")
        );
    }
}

#[tokio::test]
async fn a_buffered_url_gathers_a_streamed_answer() {
    let (function, answer) = stream(WITH_PRELUDE);
    let url = Url::streaming(settings("BUFFERED"), answer).await;
    tokio::spawn(async move {
        for chunk in [
            prelude(r#"{"statusCode":202}"#),
            Bytes::from_static(b"one"),
            Bytes::from_static(b"two"),
        ] {
            function.send(Ok(chunk)).await.unwrap();
        }
    });
    let received = get(url.address).await;
    assert_eq!((received.status.as_u16(), received.text()), (202, "onetwo"));
    assert_eq!(received.headers["content-length"], "6");
}

#[tokio::test]
async fn a_buffered_url_answers_502_for_a_stream_that_breaks_or_is_too_large() {
    let endings = [
        Err(StreamBroken { reason: "gone".into() }),
        Ok(Bytes::from(vec![0; ANSWER_BYTES])),
    ];
    for last in endings {
        let (function, answer) = stream(None);
        let url = Url::streaming(settings("BUFFERED"), answer).await;
        tokio::spawn(async move {
            function.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
            function.send(last).await.unwrap();
        });
        assert_eq!(get(url.address).await.status, StatusCode::BAD_GATEWAY);
    }
}

#[tokio::test]
async fn a_streaming_url_sends_a_buffered_answer_as_it_is() {
    let payload = r#"{"statusCode":404,"body":"x"}"#;
    let url = Url::start(streaming(), move |_| {
        Box::pin(async move { Ok(Answer::Buffered(Bytes::from_static(payload.as_bytes()))) })
    })
    .await;
    let received = get(url.address).await;
    assert_eq!((received.status, received.text()), (StatusCode::OK, payload));
    assert_eq!(received.headers["content-type"], "application/octet-stream");
}

/// Streams this many bytes; gives how many came through, and whether the answer was complete.
async fn stream_bytes(total: u64) -> (u64, bool) {
    const CHUNK: u64 = 4 * 1024 * 1024;
    let (function, answer) = stream(None);
    let url = Url::streaming(streaming(), answer).await;
    tokio::spawn(async move {
        let chunk = Bytes::from(vec![7; CHUNK as usize]);
        let mut left = total;
        while left > 0 {
            let size = left.min(CHUNK);
            // An error means that the front has broken the answer off: then it wants no more.
            if function.send(Ok(chunk.slice(..size as usize))).await.is_err() {
                return;
            }
            left -= size;
        }
    });
    let mut body = start(signed_get(&url).await).await.into_body();
    let mut received = 0;
    loop {
        match timeout(PATIENCE, body.frame()).await.unwrap() {
            Some(Ok(frame)) => received += frame.into_data().unwrap().len() as u64,
            Some(Err(_)) => return (received, false),
            None => return (received, true),
        }
    }
}

#[tokio::test]
async fn a_stream_may_have_200_megabytes_and_not_one_byte_more() {
    assert_eq!(stream_bytes(STREAM_BYTES).await, (STREAM_BYTES, true));
    assert_eq!(stream_bytes(STREAM_BYTES + 1).await, (STREAM_BYTES, false));
}

#[tokio::test]
async fn a_claimed_length_is_kept() {
    let (function, answer) = stream(WITH_PRELUDE);
    let url = Url::streaming(streaming(), answer).await;
    let json = r#"{"statusCode":200,"headers":{"content-length":"4"}}"#;
    tokio::spawn(async move {
        function.send(Ok(prelude(json))).await.unwrap();
        function.send(Ok(Bytes::from_static(b"body"))).await.unwrap();
    });
    let received = get(url.address).await;
    assert_eq!(received.text(), "body");
    assert_eq!(received.headers["content-length"], "4");
}

#[tokio::test]
async fn an_empty_body_ends_at_once() {
    let (function, answer) = stream(WITH_PRELUDE);
    let url = Url::streaming(streaming(), answer).await;
    function.send(Ok(prelude(r#"{"statusCode":302}"#))).await.unwrap();
    drop(function);
    let response = start(signed_get(&url).await).await;
    assert_eq!(response.status(), StatusCode::FOUND);
    let end = timeout(PATIENCE, response.into_body().frame()).await.unwrap();
    assert!(end.is_none(), "{end:?}");
}
