//! A key in Parameter Store, which is played.

use aws_credential_types::Credentials;
use extension::auth::{
    config::{Store, StoredKeyConfig},
    key_source::KeySource,
    stored_key::StoredKey,
};
use lambda_env::aws::Access;

use crate::fake_http::FakeHttp;

async fn stored(ssm: &FakeHttp) -> StoredKey {
    let config = StoredKeyConfig {
        store: Store::ParameterStore("/tailscale/key".into()),
        field: None,
        access: Access {
            region: Some("eu-west-1".into()),
            endpoint: Some(format!("http://{}", ssm.on_loopback().await)),
            credentials: Some(Credentials::new("AKID", "s3cret", None, None, "test")),
            ..Access::default()
        },
    };
    StoredKey::new(config, Vec::new())
}

#[tokio::test]
async fn a_key_is_read_once_and_again_for_a_change() {
    let ssm = FakeHttp::new(|_| {
        let answer =
            r#"{"Parameter":{"Name":"/tailscale/key","Type":"SecureString","Value":"tskey-auth-a\n","Version":1}}"#;
        Some((200, answer.into()))
    });
    let stored = stored(&ssm).await;
    for _ in 0..2 {
        assert_eq!(stored.login_key().await.unwrap().expose(), "tskey-auth-a");
    }
    let asked = ssm.received();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let wanted: serde_json::Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!(
        wanted,
        serde_json::json!({"Name": "/tailscale/key", "WithDecryption": true})
    );
    assert_eq!(stored.changed().await, Ok(false));
    assert_eq!(ssm.received().len(), 2);
}

#[tokio::test]
async fn a_refusal_names_the_parameter_and_what_fixes_it() {
    let ssm = FakeHttp::new(|_| Some((400, r#"{"__type":"ParameterNotFound"}"#.into())));
    let error = stored(&ssm).await.login_key().await.unwrap_err().to_string();
    let expected =
        "NoAuthKey: cannot read an auth key from parameter '/tailscale/key': ParameterNotFound; fix: check that";
    assert!(error.starts_with(expected), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_not_as_documented_is_not_shown() {
    let ssm = FakeHttp::new(|_| Some((200, r#"{"Parameter":"tskey-auth-a"}"#.into())));
    let error = stored(&ssm).await.login_key().await.unwrap_err().to_string();
    assert!(
        error.contains("not as documented") && !error.contains("tskey-auth-a"),
        "{error}"
    );
}
