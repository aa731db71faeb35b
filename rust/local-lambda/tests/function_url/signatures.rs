//! Who gets through, and who is told what.

use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode, Uri};
use serde_json::json;

use super::client::{OneRequest, Received, Signer, request, send, signed};
use super::url::{Url, now, role, user};

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";
const UNKNOWN: &str = "The security token included in the request is invalid.";

type Tampering = fn(&mut OneRequest);

async fn url() -> Url {
    Url::answering(r#"{"statusCode": 200, "body": "reached"}"#).await
}

fn post(url: &Url) -> OneRequest {
    let mut request = request(Method::POST, "/path?a=1&b=2", url.address, r#"{"hello":"world"}"#);
    request
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/json"));
    request
        .headers_mut()
        .insert("x-custom", HeaderValue::from_static("kept"));
    request
}

async fn assert_refused(url: &Url, request: OneRequest, error_type: &str, message: &str) {
    let before = url.invocations();
    let received = send(request).await;
    assert_forbidden(&received, error_type);
    assert_eq!(received.json(), json!({ "message": message }));
    assert_eq!(url.invocations(), before, "the function was invoked");
}

fn assert_forbidden(received: &Received, error_type: &str) {
    assert_eq!(received.status, StatusCode::FORBIDDEN, "{}", received.text());
    assert_eq!(received.headers["x-amzn-errortype"], error_type);
    assert_eq!(received.headers["content-type"], "application/json");
    assert!(received.headers.contains_key("x-amzn-requestid"));
}

#[tokio::test]
async fn an_unsigned_request_is_forbidden() {
    let url = url().await;
    let mut bearer = post(&url);
    bearer
        .headers_mut()
        .insert(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
    for request in [post(&url), bearer] {
        let received = send(request).await;
        assert_forbidden(&received, "AccessDeniedException");
        assert_eq!(
            received.json(),
            json!({"Message": "Forbidden. For troubleshooting Function URL authorization issues, see: \
                               https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"})
        );
    }
    assert_eq!(url.invocations(), 0);
}

#[tokio::test]
async fn whatever_is_changed_after_signing_is_noticed() {
    let url = url().await;
    let tampering: [(&str, Tampering); 9] = [
        ("method", |request| *request.method_mut() = Method::PUT),
        ("path", |request| replace_in_uri(request, "/path", "/Path")),
        ("encoding of the path", |request| {
            replace_in_uri(request, "/path", "/p%61th")
        }),
        ("query value", |request| replace_in_uri(request, "b=2", "b=3")),
        ("additional parameter", |request| {
            replace_in_uri(request, "b=2", "b=2&c=3")
        }),
        ("body", |request| {
            *request.body_mut() = Bytes::from_static(br#"{"hello":"World"}"#)
        }),
        ("signed header", |request| set(request, "x-custom", "changed")),
        ("host", |request| set(request, "host", "elsewhere.example")),
        ("removed header", |request| {
            drop(request.headers_mut().remove("x-custom"))
        }),
    ];
    for (what, tamper) in tampering {
        for declare_hash in [true, false] {
            let mut signer = Signer::of(user());
            signer.declare_hash = declare_hash;
            let mut request = signer.sign(post(&url));
            tamper(&mut request);
            eprintln!("tampering with: {what}");
            assert_refused(&url, request, "InvalidSignatureException", MISMATCH).await;
        }
    }
}

#[tokio::test]
async fn a_payload_hash_must_be_the_bodys() {
    let url = url().await;
    for declared in [
        "UNSIGNED-PAYLOAD",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ] {
        let mut request = post(&url);
        set(&mut request, "x-amz-content-sha256", declared);
        let mut signer = Signer::of(user());
        signer.declare_hash = false;
        let request = signer.sign(request);
        assert_refused(&url, request, "InvalidSignatureException", MISMATCH).await;
    }
}

#[tokio::test]
async fn keys_and_tokens_must_belong_together() {
    let url = url().await;
    let mut nobody = user();
    nobody.access_key_id = "AKIANOBODY".into();
    let mut user_with_token = user();
    user_with_token.session_token = role().session_token;
    let mut role_without_token = role();
    role_without_token.session_token = None;
    let mut role_with_another = role();
    role_with_another.session_token = Some("another".into());
    for caller in [nobody, user_with_token, role_without_token, role_with_another] {
        let request = Signer::of(caller).sign(post(&url));
        assert_refused(&url, request, "UnrecognizedClientException", UNKNOWN).await;
    }
    let mut wrong_secret = user();
    wrong_secret.secret_access_key = "guessed".into();
    let request = Signer::of(wrong_secret).sign(post(&url));
    assert_refused(&url, request, "InvalidSignatureException", MISMATCH).await;
}

#[tokio::test]
async fn a_signature_is_for_this_region_and_service() {
    let url = url().await;
    for (region, service) in [("eu-central-1", "lambda"), ("us-west-2", "execute-api")] {
        let mut signer = Signer::of(user());
        (signer.region, signer.service) = (region, service);
        let received = send(signer.sign(post(&url))).await;
        assert_forbidden(&received, "InvalidSignatureException");
        let message = format!(
            "Credential should be scoped to us-west-2, lambda and the day of X-Amz-Date, not to {region}, {service} and \
             20230418."
        );
        assert_eq!(received.json(), json!({ "message": message }));
    }
    assert_eq!(url.invocations(), 0);
}

#[tokio::test]
async fn a_signature_lives_five_minutes_either_way() {
    let url = url().await;
    let mut signer = Signer::of(role());
    let (within, beyond) = (Duration::from_secs(299), Duration::from_secs(301));
    for (time, declare_hash) in [(now() - within, true), (now() + within, false)] {
        (signer.time, signer.declare_hash) = (time, declare_hash);
        let received = send(signer.sign(post(&url))).await;
        assert_eq!((received.status, received.text()), (StatusCode::OK, "reached"));
    }
    for time in [now() - beyond, now() + beyond] {
        signer.time = time;
        let request = signer.sign(post(&url));
        let message = "Signature expired, or not yet current: X-Amz-Date is more than 5 min. from now.";
        assert_refused(&url, request, "InvalidSignatureException", message).await;
    }
}

#[tokio::test]
async fn a_signature_in_pieces_is_incomplete() {
    let url = url().await;
    let pieces: [Tampering; 5] = [
        |request| edit_authorization(request, "Credential=", "Credentials="),
        |request| edit_authorization(request, "/us-west-2/", "/"),
        |request| edit_authorization(request, "aws4_request", "aws5_request"),
        |request| set(request, "x-amz-date", "yesterday"),
        |request| drop(request.headers_mut().remove("x-amz-date")),
    ];
    for take_away in pieces {
        let mut request = signed(post(&url));
        take_away(&mut request);
        assert_forbidden(&send(request).await, "IncompleteSignatureException");
    }
    assert_eq!(url.invocations(), 0);
}

#[tokio::test]
async fn the_host_must_be_signed() {
    let url = url().await;
    let mut request = signed(post(&url));
    edit_authorization(&mut request, ";host;", ";");
    let message = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
    assert_refused(&url, request, "InvalidSignatureException", message).await;
}

fn set(request: &mut OneRequest, name: &'static str, value: &str) {
    request
        .headers_mut()
        .insert(name, HeaderValue::from_str(value).unwrap());
}

fn replace_in_uri(request: &mut OneRequest, from: &str, to: &str) {
    let before = request.uri().to_string();
    let after = before.replacen(from, to, 1);
    assert_ne!(before, after);
    *request.uri_mut() = after.parse::<Uri>().unwrap();
}

fn edit_authorization(request: &mut OneRequest, from: &str, to: &str) {
    let before = request.headers()[AUTHORIZATION].to_str().unwrap().to_owned();
    let after = before.replacen(from, to, 1);
    assert_ne!(before, after);
    set(request, "authorization", &after);
}
