//! What the caller gets of what the function answers.

use http::StatusCode;
use serde_json::json;

use super::client::get;
use super::url::Url;

#[tokio::test]
async fn a_malformed_answer_is_a_502_in_the_services_words() {
    let bodies = [json!(1), json!({})].map(|body| json!({"statusCode": 200, "body": body}));
    let codes = [
        json!("soon"),
        json!(99),
        json!(101),
        json!(1000),
        json!(true),
        json!([200]),
        json!(-1),
        json!(200.5),
    ];
    let codes = codes.map(|code| json!({"statusCode": code}));
    let others = [
        json!({"statusCode": 200, "isBase64Encoded": "yes"}),
        json!({"statusCode": 200, "body": "?", "isBase64Encoded": true}),
        json!({"statusCode": 200, "headers": []}),
        json!({"statusCode": 200, "headers": {"a": ["b"]}}),
        json!({"statusCode": 200, "headers": {"a b": "c"}}),
        json!({"statusCode": 200, "headers": {"a": "b\r\nc: d"}}),
        json!({"statusCode": 200, "cookies": "a=b"}),
        json!({"statusCode": 200, "cookies": [1]}),
        json!({"statusCode": 200, "cookies": ["a=b\n"]}),
    ];
    let all = bodies.into_iter().chain(codes).chain(others);
    for payload in all.map(|answer| answer.to_string()).chain(["nonsense".to_owned()]) {
        let received = get(Url::answering(payload.clone()).await.address).await;
        assert_eq!(
            (received.status, received.text()),
            (StatusCode::BAD_GATEWAY, "Internal Server Error"),
            "{payload}"
        );
        assert!(received.headers.contains_key("x-amzn-requestid"));
    }
}

#[tokio::test]
async fn headers_that_the_service_keeps_for_itself_get_another_name() {
    let url = Url::answering(
        r#"{"statusCode": "418", "headers": {"WWW-Authenticate": "Basic", "Connection": "close", "Date": "then",
            "Transfer-Encoding": "chunked", "x-amzn-requestid": "mine", "x-amzn-trace-id": "mine"}}"#,
    )
    .await;
    let received = get(url.address).await;
    assert_eq!(received.status, StatusCode::IM_A_TEAPOT);
    for (name, value) in [("www-authenticate", "Basic"), ("connection", "close"), ("date", "then")] {
        assert_eq!(received.headers[format!("x-amzn-remapped-{name}")], value);
    }
    for name in ["www-authenticate", "connection", "transfer-encoding"] {
        assert!(!received.headers.contains_key(name), "{name}");
    }
    for name in ["x-amzn-requestid", "x-amzn-trace-id"] {
        assert_ne!(received.headers[name], "mine");
    }
    let url = Url::answering(r#"{"statusCode": 200, "headers": {"x-amzn-remapped-a": "b"}}"#).await;
    assert_eq!(get(url.address).await.status, StatusCode::INTERNAL_SERVER_ERROR);
}
