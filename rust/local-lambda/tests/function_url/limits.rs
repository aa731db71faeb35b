//! Sizes, to the byte.

use http::{HeaderValue, Method, StatusCode};
use local_lambda::function_url::EVENT_BYTES;
use local_lambda::invocation::ANSWER_BYTES;

use super::client::{OneRequest, get, request, send, signed};
use super::url::Url;

fn text_post(url: &Url, body: Vec<u8>) -> OneRequest {
    let mut request = request(Method::POST, "/", url.address, body);
    request
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("text/plain"));
    request
}

#[tokio::test]
async fn an_event_may_be_six_mebibytes_and_not_one_byte_more() {
    let url = Url::answering("{}").await;
    // What the event takes besides the body; the length has as many digits as that of the largest body.
    send(signed(text_post(&url, vec![b'a'; 6_000_000])).await).await;
    let envelope = url.seen.lock().unwrap()[0].payload.len() - 6_000_000;
    let largest = EVENT_BYTES - envelope;

    assert_eq!(
        send(signed(text_post(&url, vec![b'a'; largest])).await).await.status,
        StatusCode::OK
    );
    assert_eq!(url.seen.lock().unwrap()[1].payload.len(), EVENT_BYTES);

    let received = send(signed(text_post(&url, vec![b'a'; largest + 1])).await).await;
    assert_eq!(received.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(received.headers["x-amzn-errortype"], "RequestEntityTooLargeException");
    let message = "Request must be smaller than 6291456 bytes for the InvokeFunction operation";
    assert_eq!(received.json()["message"], message);
    assert_eq!(url.invocations(), 2);
}

#[tokio::test]
async fn base64_counts() {
    let url = Url::answering("{}").await;
    let binary = |bytes: usize| request(Method::POST, "/", url.address, vec![0; bytes]);
    assert_eq!(send(signed(binary(4_700_000)).await).await.status, StatusCode::OK);
    assert_eq!(
        send(signed(binary(4_720_000)).await).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn a_body_that_cannot_fit_is_refused_and_its_sender_gets_to_know() {
    let url = Url::answering("{}").await;
    let received = send(signed(text_post(&url, vec![b'a'; 20_000_000])).await).await;
    assert_eq!(received.status, StatusCode::PAYLOAD_TOO_LARGE);
    // Unsigned, it is refused for that.
    assert_eq!(
        send(text_post(&url, vec![b'a'; 20_000_000])).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(url.invocations(), 0);
}

#[tokio::test]
async fn an_answer_may_be_as_large_as_the_service_takes_and_not_one_byte_more() {
    let answer = |bytes: usize| {
        let envelope = r#"{"statusCode":200,"body":""}"#.len();
        format!(r#"{{"statusCode":200,"body":"{}"}}"#, "a".repeat(bytes - envelope))
    };
    let received = get(Url::answering(answer(ANSWER_BYTES)).await.address).await;
    assert_eq!(
        (received.status, received.body.len()),
        (StatusCode::OK, ANSWER_BYTES - 28)
    );
    let received = get(Url::answering(answer(ANSWER_BYTES + 1)).await.address).await;
    assert_eq!(
        (received.status, received.text()),
        (StatusCode::BAD_GATEWAY, "Internal Server Error")
    );
}
