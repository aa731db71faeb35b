//! What the caller gets of what the function answers.

use http::{Method, StatusCode};
use local_lambda::invocation::InvokeError;

use super::client::{get, request, send, signed};
use super::url::{Url, settings};

#[tokio::test]
async fn any_json_without_a_status_code_is_the_body_of_a_200() {
    for payload in [r#""Hello, world!""#, r#"{"message":"Hello, world!"}"#] {
        let received = get(Url::answering(payload).await.address).await;
        assert_eq!((received.status, received.text()), (StatusCode::OK, payload));
        assert_eq!(received.headers["content-type"], "application/json");
        assert_eq!(received.headers["content-length"], payload.len().to_string());
    }
}

#[tokio::test]
async fn a_full_answer_arrives_with_its_status_headers_cookies_and_bytes() {
    let url = Url::answering(
        r#"{"statusCode": 201, "headers": {"Content-Type": "image/png", "My-Custom-Header": "Custom Value"},
            "body": "iVBORw0KGgo=", "cookies": ["a=1; Path=/", "b=2"], "isBase64Encoded": true}"#,
    )
    .await;
    let received = get(url.address).await;
    assert_eq!(received.status, StatusCode::CREATED);
    assert_eq!(&received.body[..], b"\x89PNG\r\n\x1a\n");
    assert_eq!(received.headers["content-type"], "image/png");
    assert_eq!(received.headers["my-custom-header"], "Custom Value");
    assert_eq!(received.headers["content-length"], "8");
    let cookies: Vec<_> = received.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; Path=/", "b=2"]);
}

#[tokio::test]
async fn only_the_services_own_headers_are_added() {
    let received = get(
        Url::answering(r#"{"statusCode": 200, "headers": {"content-type": "a/b"}}"#)
            .await
            .address,
    )
    .await;
    let mut names: Vec<_> = received.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "content-length",
            "content-type",
            "date",
            "x-amzn-requestid",
            "x-amzn-trace-id"
        ]
    );
}

#[tokio::test]
async fn the_services_ids_are_not_the_functions_to_set() {
    let payload = r#"{"statusCode": 200, "headers": {"x-amzn-requestid": "mine", "x-amzn-trace-id": "mine"}}"#;
    let url = Url::answering(payload).await;
    let received = get(url.address).await;
    assert_eq!(
        received.headers["x-amzn-requestid"],
        url.seen.lock().unwrap()[0].request_id.as_str()
    );
    assert_ne!(received.headers["x-amzn-trace-id"], "mine");
}

#[tokio::test]
async fn answers_without_a_body_end_at_once() {
    let url = Url::answering(r#"{"statusCode": 200, "headers": {"content-length": "42"}, "body": ""}"#).await;
    let received = send(signed(request(Method::HEAD, "/", url.address, "")).await).await;
    assert_eq!((received.status, received.body.len()), (StatusCode::OK, 0));
    assert_eq!(received.headers["content-length"], "42");
    for status in [204, 304] {
        let url = Url::answering(format!(r#"{{"statusCode": {status}, "headers": {{"etag": "x"}}}}"#)).await;
        let received = get(url.address).await;
        assert_eq!((received.status.as_u16(), received.body.len()), (status, 0));
        assert_eq!(received.headers["etag"], "x");
    }
}

#[tokio::test]
async fn the_true_length_is_sent_whatever_the_function_claims() {
    let url = Url::answering(r#"{"statusCode": 200, "headers": {"Content-Length": "3"}, "body": "longer"}"#).await;
    let received = get(url.address).await;
    assert_eq!(received.text(), "longer");
    assert_eq!(received.headers["content-length"], "6");
}

#[tokio::test]
async fn a_malformed_answer_is_a_502_in_the_services_words() {
    for payload in [
        "nonsense",
        r#"{"statusCode": "soon"}"#,
        r#"{"statusCode": 200, "body": 1}"#,
    ] {
        let received = get(Url::answering(payload).await.address).await;
        assert_eq!(
            (received.status, received.text()),
            (StatusCode::BAD_GATEWAY, "Internal Server Error")
        );
        assert!(received.headers.contains_key("x-amzn-requestid"));
    }
    let received = get(
        Url::answering(r#"{"statusCode": 200, "headers": {"x-amzn-remapped-a": "b"}}"#)
            .await
            .address,
    )
    .await;
    assert_eq!(received.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_function_that_fails_is_a_502_and_one_that_is_busy_a_429() {
    let errors = [
        (InvokeError::Throttled { limit: 1 }, StatusCode::TOO_MANY_REQUESTS),
        (
            InvokeError::Function {
                error_type: "Runtime.ExitError".into(),
                message: "secret".into(),
            },
            StatusCode::BAD_GATEWAY,
        ),
        (
            InvokeError::ResponseTooLarge { bytes: 2, limit: 1 },
            StatusCode::BAD_GATEWAY,
        ),
    ];
    for (error, status) in errors {
        let url = Url::start(settings("BUFFERED"), move |_| {
            let error = error.clone();
            Box::pin(async move { Err(error) })
        })
        .await;
        let received = get(url.address).await;
        assert_eq!(received.status, status);
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(received.headers["x-amzn-errortype"], "TooManyRequestsException");
            assert_eq!(received.json()["message"], "Rate Exceeded.");
        } else {
            assert_eq!(received.text(), "Internal Server Error");
        }
    }
}

#[tokio::test]
async fn a_function_that_panics_is_a_502() {
    let settings = settings("BUFFERED");
    let url = Url::start(settings, |_| Box::pin(async { panic!("on purpose") })).await;
    assert_eq!(get(url.address).await.status, StatusCode::BAD_GATEWAY);
}
