//! Sizes, to the byte.

use http::{HeaderValue, Method, StatusCode};
use local_lambda::function_url::EVENT_BYTES;
use local_lambda::invocation::ANSWER_BYTES;

use super::client::{Received, get, request, send, signed};
use super::url::Url;

async fn post(url: &Url, content_type: &'static str, bytes: usize) -> Received {
    let mut request = request(Method::POST, "/", url.address, vec![b'a'; bytes]);
    request
        .headers_mut()
        .insert("content-type", HeaderValue::from_static(content_type));
    send(signed(request)).await
}

#[tokio::test]
async fn an_event_may_be_six_mebibytes_and_not_one_byte_more() {
    let url = Url::answering("{}").await;
    // What the event takes besides the body; the length has as many digits as that of the largest body.
    post(&url, "text/plain", 6_000_000).await;
    let envelope = url.seen.lock().unwrap()[0].payload.len() - 6_000_000;
    let largest = EVENT_BYTES - envelope;
    assert_eq!(post(&url, "text/plain", largest).await.status, StatusCode::OK);
    assert_eq!(url.seen.lock().unwrap()[1].payload.len(), EVENT_BYTES);

    // The second in base64; the third cannot fit in any form, and its sender still gets the answer.
    for (content_type, bytes) in [("text/plain", largest + 1), ("a/b", 4_720_000), ("a/b", 20_000_000)] {
        let received = post(&url, content_type, bytes).await;
        assert_eq!(received.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(received.headers["x-amzn-errortype"], "RequestEntityTooLargeException");
        let message = "Request must be smaller than 6291456 bytes for the InvokeFunction operation";
        assert_eq!(received.json()["message"], message);
    }
    assert_eq!(url.invocations(), 2);
}

#[tokio::test]
async fn an_answer_may_be_as_large_as_the_service_takes_and_not_one_byte_more() {
    let envelope = r#"{"statusCode":200,"body":""}"#.len();
    for (bytes, status) in [
        (ANSWER_BYTES, StatusCode::OK),
        (ANSWER_BYTES + 1, StatusCode::BAD_GATEWAY),
    ] {
        let answer = format!(r#"{{"statusCode":200,"body":"{}"}}"#, "a".repeat(bytes - envelope));
        assert_eq!(get(Url::answering(answer).await.address).await.status, status);
    }
}
