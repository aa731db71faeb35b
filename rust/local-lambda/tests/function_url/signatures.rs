//! Who gets through, and who is told what.

use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::Full;
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

async fn assert_reached(url: &Url, request: OneRequest) {
    let before = url.invocations();
    let received = send(request).await;
    assert_eq!((received.status, received.text()), (StatusCode::OK, "reached"));
    assert_eq!(url.invocations(), before + 1);
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
async fn signed_requests_reach_the_function() {
    let url = url().await;
    assert_reached(&url, signed(post(&url)).await).await;
    let without_declared_hash = Signer {
        declare_hash: false,
        ..Signer::default()
    };
    assert_reached(&url, without_declared_hash.sign(post(&url)).await).await;
    assert_reached(
        &url,
        Signer {
            caller: role(),
            ..Signer::default()
        }
        .sign(post(&url))
        .await,
    )
    .await;
}

#[tokio::test]
async fn presigned_requests_reach_the_function_until_they_expire() {
    let url = url().await;
    let minute = Some(Duration::from_secs(60));
    for caller in [user(), role()] {
        let signer = Signer {
            presigned: minute,
            caller,
            ..Signer::default()
        };
        assert_reached(&url, signer.sign(post(&url)).await).await;
        let at_the_last_second = Signer {
            time: now() - Duration::from_secs(60),
            ..signer
        };
        assert_reached(&url, at_the_last_second.sign(post(&url)).await).await;
    }
    let late = Signer {
        presigned: minute,
        time: now() - Duration::from_secs(61),
        ..Signer::default()
    };
    let message = "Signature expired: 20230418T161716Z is now earlier than 20230418T161717Z";
    assert_refused(&url, late.sign(post(&url)).await, "InvalidSignatureException", message).await;
    let too_long = Signer {
        presigned: Some(Duration::from_secs(604_801)),
        ..Signer::default()
    };
    let message = "X-Amz-Expires must be less than 604800 seconds";
    assert_refused(
        &url,
        too_long.sign(post(&url)).await,
        "InvalidSignatureException",
        message,
    )
    .await;
}

#[tokio::test]
async fn odd_but_legal_targets_can_be_signed() {
    let url = url().await;
    for target in [
        "/a//b/../c/./d/",
        "/a%2Fb%20c",
        "/caf%C3%A9",
        "/a(b)!c*d'e",
        "/~user;v=1,2:3@4",
        "/?",
        "/?a",
        "/?a=&b",
        "/?&&a=1&a=0",
        "/?plus=a+b&percent=%2B&space=%20",
        "/?utf8=%C3%A9&raw=%ff",
        "/?b=2&a=1&B=3",
    ] {
        assert_reached(&url, signed(request(Method::GET, target, url.address, "")).await).await;
    }
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
            *request.body_mut() = Full::new(Bytes::from_static(br#"{"hello":"World"}"#))
        }),
        ("signed header", |request| set(request, "x-custom", "changed")),
        ("host", |request| set(request, "host", "elsewhere.example")),
        ("removed header", |request| {
            drop(request.headers_mut().remove("x-custom"))
        }),
    ];
    for (what, tamper) in tampering {
        for declare_hash in [true, false] {
            let mut request = Signer {
                declare_hash,
                ..Signer::default()
            }
            .sign(post(&url))
            .await;
            tamper(&mut request);
            eprintln!("tampering with: {what}");
            assert_refused(&url, request, "InvalidSignatureException", MISMATCH).await;
        }
    }
}

#[tokio::test]
async fn whatever_is_changed_after_presigning_is_noticed() {
    let url = url().await;
    let signer = Signer {
        presigned: Some(Duration::from_secs(60)),
        ..Signer::default()
    };
    for (from, to) in [("b=2", "b=3"), ("Expires=60", "Expires=61"), ("/path", "/elsewhere")] {
        let mut request = signer.sign(post(&url)).await;
        replace_in_uri(&mut request, from, to);
        assert_refused(&url, request, "InvalidSignatureException", MISMATCH).await;
    }
}

#[tokio::test]
async fn a_header_that_is_not_signed_may_be_added_on_the_way() {
    let url = url().await;
    let mut request = signed(post(&url)).await;
    set(&mut request, "x-added-by-a-proxy", "1");
    assert_reached(&url, request).await;
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
        let request = Signer {
            declare_hash: false,
            ..Signer::default()
        }
        .sign(request)
        .await;
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
        for presigned in [None, Some(Duration::from_secs(60))] {
            let signer = Signer {
                caller: caller.clone(),
                presigned,
                ..Signer::default()
            };
            assert_refused(
                &url,
                signer.sign(post(&url)).await,
                "UnrecognizedClientException",
                UNKNOWN,
            )
            .await;
        }
    }
    let mut wrong_secret = user();
    wrong_secret.secret_access_key = "guessed".into();
    let request = Signer {
        caller: wrong_secret,
        ..Signer::default()
    }
    .sign(post(&url))
    .await;
    assert_refused(&url, request, "InvalidSignatureException", MISMATCH).await;
}

#[tokio::test]
async fn a_signature_is_for_this_region_and_service() {
    let url = url().await;
    let request = Signer {
        region: "eu-central-1",
        ..Signer::default()
    }
    .sign(post(&url))
    .await;
    let message = "Credential should be scoped to a valid region, not 'eu-central-1'. ";
    assert_refused(&url, request, "InvalidSignatureException", message).await;
    let request = Signer {
        service: "execute-api",
        ..Signer::default()
    }
    .sign(post(&url))
    .await;
    let message = "Credential should be scoped to correct service: 'lambda'. ";
    assert_refused(&url, request, "InvalidSignatureException", message).await;
}

#[tokio::test]
async fn a_signature_lives_five_minutes_either_way() {
    let url = url().await;
    for (time, message) in [
        (now() - Duration::from_secs(300), None),
        (
            now() - Duration::from_secs(301),
            Some(
                "Signature expired: 20230418T161216Z is now earlier than 20230418T161217Z (20230418T161717Z - 5 min.)",
            ),
        ),
        (now() + Duration::from_secs(300), None),
        (
            now() + Duration::from_secs(301),
            Some(
                "Signature not yet current: 20230418T162218Z is still later than 20230418T162217Z (20230418T161717Z + 5 min.)",
            ),
        ),
    ] {
        let request = Signer {
            time,
            ..Signer::default()
        }
        .sign(post(&url))
        .await;
        match message {
            None => assert_reached(&url, request).await,
            Some(message) => assert_refused(&url, request, "InvalidSignatureException", message).await,
        }
    }
}

#[tokio::test]
async fn an_authorization_in_pieces_is_told_what_it_lacks() {
    let url = url().await;
    let mut request = signed(post(&url)).await;
    set(&mut request, "authorization", "AWS4-HMAC-SHA256 SignedHeaders=host");
    request.headers_mut().remove("x-amz-date");
    let message = "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' \
                   parameter. Authorization header requires existence of a 'X-Amz-Date' header.";
    assert_refused(&url, request, "IncompleteSignatureException", message).await;

    let mut request = signed(post(&url)).await;
    edit_authorization(&mut request, "/us-west-2/", "/");
    let message = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term";
    assert_refused(&url, request, "IncompleteSignatureException", message).await;

    let mut request = signed(post(&url)).await;
    set(&mut request, "x-amz-date", "yesterday");
    let message = "Date must be in ISO-8601 'basic format'. Got 'yesterday'.";
    assert_refused(&url, request, "IncompleteSignatureException", message).await;
}

#[tokio::test]
async fn a_presigned_query_in_pieces_is_told_what_it_lacks() {
    let url = url().await;
    let signer = Signer {
        presigned: Some(Duration::from_secs(60)),
        ..Signer::default()
    };
    for (from, to, missing) in [
        ("X-Amz-Signature=", "X-Amz-Sig=", "'X-Amz-Signature'."),
        (
            "X-Amz-Expires=60",
            "X-Amz-Expires=soon",
            "'X-Amz-Expires', a number of seconds.",
        ),
    ] {
        let mut request = signer.sign(post(&url)).await;
        replace_in_uri(&mut request, from, to);
        let message = format!("AWS query-string parameters must include {missing}");
        assert_refused(&url, request, "IncompleteSignatureException", &message).await;
    }
}

#[tokio::test]
async fn a_scope_of_another_day_or_end_is_refused() {
    let url = url().await;
    let mut request = signed(post(&url)).await;
    edit_authorization(&mut request, "/20230418/", "/20230417/");
    let message = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                   '20230417' != '20230418', from '20230418T161717Z'.";
    assert_refused(&url, request, "InvalidSignatureException", message).await;
    let mut request = signed(post(&url)).await;
    edit_authorization(&mut request, "aws4_request", "aws5_request");
    let message = "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. ";
    assert_refused(&url, request, "InvalidSignatureException", message).await;
}

#[tokio::test]
async fn the_host_must_be_signed() {
    let url = url().await;
    let mut request = signed(post(&url)).await;
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
