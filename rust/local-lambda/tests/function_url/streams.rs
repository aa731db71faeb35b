//! Streamed answers.

use bytes::Bytes;
use http::{Method, StatusCode};
use local_lambda::invocation::StreamBroken;

use super::client::{exchange_bytes, get, head_bytes, request, signed};
use super::url::{Url, stream};

fn prelude(json: &str) -> Bytes {
    Bytes::from([json.as_bytes(), &[0; 8]].concat())
}

fn broken() -> Result<Bytes, StreamBroken> {
    let reason = "the runtime died".into();
    Err(StreamBroken { reason })
}

/// A URL whose function streams these pieces.
async fn streaming(pieces: Vec<Result<Bytes, StreamBroken>>) -> Url {
    let (function, answer) = stream();
    tokio::spawn(async move {
        for piece in pieces {
            function.send(piece).await.unwrap();
        }
    });
    Url::streaming(answer).await
}

#[tokio::test]
async fn a_prelude_may_come_in_any_pieces_with_the_body_at_its_heels() {
    let whole = [&prelude(r#"{"statusCode":203}"#)[..], b"body\0\0\0\0\0\0\0\0more"].concat();
    for cut in 1..whole.len() {
        let (first, second) = whole.split_at(cut);
        let pieces = [first, second].map(|piece| Ok(Bytes::copy_from_slice(piece)));
        let received = get(streaming(pieces.into()).await.address).await;
        assert_eq!(received.status.as_u16(), 203, "cut at {cut}");
        assert_eq!(&received.body[..], b"body\0\0\0\0\0\0\0\0more", "cut at {cut}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_complete() {
    let half = Ok(Bytes::from_static(b"half"));
    let url = streaming(vec![Ok(prelude("{}")), half, broken()]).await;
    let request = signed(request(Method::GET, "/", url.address, ""));
    let received = exchange_bytes(url.address, head_bytes(&request).as_bytes()).await;
    // The connection is closed although the client did not ask for that, and without the last chunk.
    let received = String::from_utf8(received).unwrap();
    assert!(received.contains("transfer-encoding: chunked\r\n"), "{received}");
    assert!(received.ends_with("\r\n\r\n4\r\nhalf\r\n"), "{received}");
}

#[tokio::test]
async fn a_stream_that_breaks_or_ends_within_its_prelude_is_a_502() {
    let endings = [
        vec![Ok(Bytes::from_static(b"{\"statusCode\"")), broken()],
        vec![Ok(Bytes::from_static(b"{\"statusCode\": 200}\0\0\0\0"))],
        vec![Ok(prelude("not json"))],
        vec![Ok(Bytes::from(vec![b' '; 2_000_000]))],
    ];
    for pieces in endings {
        let received = get(streaming(pieces).await.address).await;
        assert_eq!(
            (received.status, received.text()),
            (StatusCode::BAD_GATEWAY, "Internal Server Error")
        );
    }
}
