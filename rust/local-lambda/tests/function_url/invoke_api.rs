//! The Invoke API: what a caller with an AWS SDK gets.

use http::{HeaderValue, Method, StatusCode};
use local_lambda::invocation::{Answer, InvokeError};
use serde_json::json;
use tokio::sync::mpsc;

use super::client::{Received, Signer, request, send, signed};
use super::url::{Outcome, Url, stream};

const PATH: &str = "/2015-03-31/functions/proxy/invocations";

async fn answering(outcome: impl Fn() -> Outcome + Send + Sync + 'static) -> Url {
    Url::invoke_api(move |_| {
        let outcome = outcome();
        Box::pin(async move { outcome })
    })
    .await
}

async fn invoke(api: &Url, path: &str, kind: Option<&'static str>, payload: &'static str) -> Received {
    let mut request = request(Method::POST, path, api.address, payload);
    if let Some(kind) = kind {
        request
            .headers_mut()
            .insert("x-amz-invocation-type", HeaderValue::from_static(kind));
    }
    send(signed(request).await).await
}

fn ok() -> Outcome {
    Ok(Answer::Buffered(r#"{"a":1}"#.into()))
}

#[tokio::test]
async fn the_payload_arrives_and_the_answer_comes_back_as_they_are() {
    let api = answering(ok).await;
    let payload = r#"{"warmUp": {"until": 1}}"#;
    for path in [
        PATH,
        "/2015-03-31/functions/proxy%3Alive/invocations",
        &format!("{PATH}?Qualifier=live"),
    ] {
        let received = invoke(&api, path, Some("RequestResponse"), payload).await;
        assert_eq!(
            (received.status, received.text()),
            (StatusCode::OK, r#"{"a":1}"#),
            "{path}"
        );
        assert_eq!(received.headers["x-amz-executed-version"], "$LATEST");
        assert!(!received.headers.contains_key("x-amz-function-error"));
    }
    let qualifiers: Vec<_> = api
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|seen| seen.qualifier.clone())
        .collect();
    assert_eq!(qualifiers, [None, Some("live".to_owned()), Some("live".to_owned())]);
    assert_eq!(api.seen.lock().unwrap()[0].payload, payload);
    assert_eq!(api.invocations(), 3);
    api.stop().await;
}

#[tokio::test]
async fn a_function_that_failed_is_a_200_with_a_header_that_says_so() {
    let api = answering(|| {
        Err(InvokeError::Function {
            error_type: "InvalidRequest".into(),
            message: "no".into(),
        })
    })
    .await;
    let received = invoke(&api, PATH, None, "{}").await;
    assert_eq!(received.status, StatusCode::OK);
    assert_eq!(received.headers["x-amz-function-error"], "Unhandled");
    assert_eq!(
        received.json(),
        json!({"errorType": "InvalidRequest", "errorMessage": "no"})
    );
}

#[tokio::test]
async fn a_busy_function_is_a_429_with_the_reason() {
    let api = answering(|| Err(InvokeError::Throttled { limit: 1 })).await;
    let received = invoke(&api, PATH, None, "{}").await;
    assert_eq!(received.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(received.headers["x-amzn-errortype"], "TooManyRequestsException");
    assert_eq!(
        received.json()["Reason"],
        "ReservedFunctionConcurrentInvocationLimitExceeded"
    );
}

#[tokio::test]
async fn a_streamed_answer_is_gathered() {
    let answers = std::sync::Mutex::new(None);
    let (sender, streaming) = stream(None);
    *answers.lock().unwrap() = Some(streaming);
    let api = answering(move || Ok(Answer::Streaming(answers.lock().unwrap().take().unwrap()))).await;
    tokio::spawn(async move {
        for piece in ["one ", "two"] {
            sender.send(Ok(piece.into())).await.unwrap();
        }
    });
    assert_eq!(invoke(&api, PATH, None, "{}").await.text(), "one two");
}

#[tokio::test]
async fn an_event_is_taken_at_once() {
    let (begun, mut runs) = mpsc::channel(1);
    let api = Url::invoke_api(move |_| {
        let begun = begun.clone();
        Box::pin(async move {
            begun.send(()).await.unwrap();
            std::future::pending().await
        })
    })
    .await;
    assert_eq!(
        invoke(&api, PATH, Some("Event"), "{}").await.status,
        StatusCode::ACCEPTED
    );
    runs.recv().await.unwrap();
    api.stop().await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let api = answering(ok).await;
    for (path, kind, status, error_type) in [
        (
            "/2015-03-31/functions/other/invocations",
            None,
            404,
            "ResourceNotFoundException",
        ),
        (
            "/2015-03-31/functions/proxy:old/invocations",
            None,
            404,
            "ResourceNotFoundException",
        ),
        (PATH, Some("Sometimes"), 400, "InvalidParameterValueException"),
    ] {
        let received = invoke(&api, path, kind, "{}").await;
        assert_eq!(received.status, status, "{path}");
        assert_eq!(received.headers["x-amzn-errortype"], error_type);
    }
    assert_eq!(api.invocations(), 0);
}

#[tokio::test]
async fn nobody_gets_in_without_a_signature_of_their_own() {
    let api = answering(ok).await;
    let unsigned = send(request(Method::POST, PATH, api.address, "{}")).await;
    assert_eq!(unsigned.status, StatusCode::FORBIDDEN);
    let mut signer = Signer::default();
    signer.caller.secret_access_key = "another".into();
    let wrong = send(signer.sign(request(Method::POST, PATH, api.address, "{}")).await).await;
    assert_eq!(wrong.headers["x-amzn-errortype"], "InvalidSignatureException");
    assert_eq!(api.invocations(), 0);
}
