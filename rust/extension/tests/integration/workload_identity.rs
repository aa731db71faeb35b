//! Login with the function's role: STS and Tailscale's API are played.

use aws_credential_types::Credentials;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use extension::{
    auth::{attributes::Attributes, key_source::KeySource, workload_identity::WorkloadIdentity},
    error::RetryPolicy,
};
use lambda_env::aws::Access;

use crate::fake_http::FakeHttp;

const ROLE: &str = "arn:aws:iam::111122223333:role/lambda-proxy";

fn jwt() -> String {
    let claims = format!(r#"{{"iss":"https://issuer.example.com","sub":"{ROLE}"}}"#);
    format!("e30.{}.s1gnature", BASE64_URL_SAFE_NO_PAD.encode(claims))
}

/// STS, which answers each call with the next of these; after them, with a token.
fn sts(refusals: &'static [(u16, &'static str)]) -> FakeHttp {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    FakeHttp::new(move |_| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Some(match refusals.get(call) {
            Some((status, code)) => (*status, error(code)),
            None => (
                200,
                format!(
                    "<GetWebIdentityTokenResponse><GetWebIdentityTokenResult><WebIdentityToken>{}</WebIdentityToken>\
                     </GetWebIdentityTokenResult></GetWebIdentityTokenResponse>",
                    jwt()
                ),
            ),
        })
    })
}

fn error(code: &str) -> String {
    format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>as it is</Message></Error></ErrorResponse>"
    )
}

fn tailscale() -> FakeHttp {
    FakeHttp::new(|request| match request.line.as_str() {
        "POST /api/v2/oauth/token-exchange" => Some((200, r#"{"access_token":"t0ken","token_type":"Bearer"}"#.into())),
        "POST /api/v2/tailnet/-/keys" => Some((200, r#"{"id":"k1","key":"tskey-auth-fresh"}"#.into())),
        _ => Some((404, "{}".into())),
    })
}

async fn identity(sts: &FakeHttp, api: &FakeHttp) -> WorkloadIdentity {
    WorkloadIdentity {
        client_id: "kAbc".into(),
        attributes: Attributes {
            ephemeral: true,
            preauthorized: true,
            base: format!("http://{}", api.on_loopback().await),
        },
        audience: "api.tailscale.com/kAbc".into(),
        tags: vec!["tag:a".into(), "tag:b".into()],
        access: Access {
            region: Some("eu-west-1".into()),
            endpoint: Some(format!("http://{}", sts.on_loopback().await)),
            credentials: Some(Credentials::new("AKID", "s3cret", Some("session".into()), None, "test")),
            ..Access::default()
        },
    }
}

#[tokio::test]
async fn each_login_gets_a_new_key_for_a_new_token_of_the_role() {
    let (sts, api) = (sts(&[]), tailscale());
    let identity = identity(&sts, &api).await;
    for _ in 0..2 {
        assert_eq!(identity.login_key().await.unwrap().expose(), "tskey-auth-fresh");
    }
    assert_eq!(identity.changed().await, Ok(true));
    let asked = sts.received();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(
        asked[0].body,
        "Action=GetWebIdentityToken&Version=2011-06-15&Audience.member.1=api.tailscale.com%2FkAbc\
         &DurationSeconds=300&SigningAlgorithm=ES384"
    );
    let requests = api.received();
    assert_eq!(requests.len(), 4, "{requests:?}");
    assert_eq!(requests[0].body, format!("client_id=kAbc&jwt={}", jwt()));
    assert_eq!(requests[1].authorization.as_deref(), Some("Bearer t0ken"));
    let wanted: serde_json::Value = serde_json::from_str(&requests[1].body).unwrap();
    let expected = serde_json::json!({"expirySeconds": 300, "capabilities": {"devices": {"create":
        {"reusable": false, "ephemeral": true, "preauthorized": true, "tags": ["tag:a", "tag:b"]}}}});
    assert_eq!(wanted, expected);
}

#[tokio::test]
async fn a_busy_sts_is_asked_again_at_once_and_a_refusal_is_not() {
    let (busy, api) = (sts(&[(400, "Throttling"), (503, "ServiceUnavailable")]), tailscale());
    identity(&busy, &api).await.login_key().await.unwrap();
    assert_eq!(busy.received().len(), 3);
    let denied = sts(&[(403, "AccessDenied")]);
    let error = identity(&denied, &api).await.login_key().await.unwrap_err();
    assert_eq!(
        (denied.received().len(), error.retry_policy()),
        (1, RetryPolicy::Backoff)
    );
    let message = error.to_string();
    assert!(
        message.contains("'kAbc'") && message.contains("AccessDenied: as it is; fix: let the function's role do"),
        "{message}"
    );
}

#[tokio::test]
async fn a_refused_exchange_shows_what_was_sent_and_not_the_token() {
    let api = FakeHttp::new(|request| Some((401, format!(r#"{{"message":"no match: {}"}}"#, request.body))));
    let sts = sts(&[]);
    let error = identity(&sts, &api).await.login_key().await.unwrap_err().to_string();
    for part in [
        "with 401: no match",
        "issuer 'https://issuer.example.com'",
        "audience 'api.tailscale.com/kAbc'",
        &format!("subject '{ROLE}'"),
        "tags 'tag:a,tag:b'",
        "fix: make the trust credential's",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("s1gnature"), "{error}");
}

#[tokio::test]
async fn a_refused_key_shows_the_tags_and_not_the_access_token() {
    let api = FakeHttp::new(|request| match request.authorization.as_deref() {
        None => Some((200, r#"{"access_token":"t0ken"}"#.into())),
        Some(bearer) => Some((403, format!(r#"{{"message":"{bearer} lacks a scope"}}"#))),
    });
    let error = identity(&sts(&[]), &api)
        .await
        .login_key()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("lacks a scope; tags 'tag:a,tag:b'; fix: give the trust credential the scope auth_keys"),
        "{error}"
    );
    assert!(!error.contains("t0ken"), "{error}");
}

#[tokio::test]
async fn an_api_that_is_busy_or_gone_is_told_so() {
    let busy = FakeHttp::new(|_| Some((429, r#"{"message":"slow down"}"#.into())));
    let sts = sts(&[]);
    let mut identity = identity(&sts, &busy).await;
    let error = identity.login_key().await.unwrap_err().to_string();
    assert!(
        error.contains("slow down; fix: none: Tailscale's API is busy"),
        "{error}"
    );
    // Nobody listens on port 9 of loopback.
    identity.attributes.base = "http://127.0.0.1:9".into();
    let error = identity.login_key().await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:9 cannot be used"), "{error}");
    identity.access.endpoint = Some("http://127.0.0.1:9".into());
    let error = identity.login_key().await.unwrap_err().to_string();
    assert!(error.contains("fix: check the function's way to STS"), "{error}");
}
