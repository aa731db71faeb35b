//! A key that AWS stores: an auth key, or a client secret that is exchanged for a new key at each login. It is kept in
//! memory for later logins.

use serde_json::Value;
use tailnet::diagnosis::KeyKind;
use tokio::sync::Mutex;

use crate::{
    auth::{
        config::{Store, StoredKeyConfig},
        key_source::KeySource,
        oauth::{ClientSecret, OAuthError},
        parameter_store,
        secret::Secret,
        secrets_manager,
    },
    error::{JoinError, SecretError},
};

/// The stored text, and what it takes to make a key of it.
#[derive(Debug)]
pub struct StoredKey {
    config: StoredKeyConfig,
    tags: Vec<String>,
    known: Mutex<Option<Secret>>,
}

impl StoredKey {
    /// The key that is stored where `config` says. `tags` are those of keys that a client secret makes.
    pub fn new(config: StoredKeyConfig, tags: Vec<String>) -> Self {
        Self {
            config,
            tags,
            known: Mutex::new(None),
        }
    }

    async fn read(&self) -> Result<Secret, JoinError> {
        let StoredKeyConfig { store, field, access } = &self.config;
        let text = match store {
            Store::SecretsManager(id) => secrets_manager::read(access, id).await,
            Store::ParameterStore(name) => parameter_store::read(access, name).await,
        };
        text.and_then(|text| pick(&text, field.as_deref()))
            .map_err(|reason| self.no_key(&reason, SecretError::Temporary))
    }

    fn no_client_key(&self, error: &OAuthError) -> JoinError {
        self.no_key(&error.to_string(), error.kind())
    }

    fn no_key(&self, reason: &str, kind: SecretError) -> JoinError {
        let place = match &self.config.store {
            Store::SecretsManager(id) => format!("secret '{id}'"),
            Store::ParameterStore(name) => format!("parameter '{name}'"),
        };
        let reason = format!("cannot read an auth key from {place}: {reason}");
        JoinError::NoAuthKey { reason, kind }
    }
}

impl KeySource for StoredKey {
    /// The text is read once; a failure is not remembered, the next call asks again.
    async fn login_key(&self) -> Result<Secret, JoinError> {
        let mut known = self.known.lock().await;
        let secret = match known.as_ref() {
            Some(secret) => secret.clone(),
            None => known.insert(self.read().await?).clone(),
        };
        drop(known);
        match ClientSecret::parse(&secret, &self.tags) {
            None => Ok(secret),
            Some(Ok(client)) => client
                .new_key(self.config.access.wire())
                .await
                .map_err(|error| self.no_client_key(&error)),
            Some(Err(error)) => Err(self.no_client_key(&error)),
        }
    }

    async fn changed(&self) -> Result<bool, JoinError> {
        let mut known = self.known.lock().await;
        let secret = self.read().await?;
        let changed = known.as_ref() != Some(&secret);
        *known = Some(secret);
        if changed {
            tracing::info!("the secret has changed: logging in with it");
        }
        Ok(changed)
    }

    /// By the text that was read last. Nobody waits for one that is being read.
    fn kind(&self) -> Option<KeyKind> {
        let known = self.known.try_lock().ok()?;
        Some(match ClientSecret::parse(known.as_ref()?, &self.tags) {
            None => KeyKind::AuthKey,
            Some(_) => KeyKind::OauthClient,
        })
    }
}

/// The key in the stored text: all of it, or one field of the JSON object that it is. The error says what is wrong with the
/// text, and shows nothing of it.
pub fn pick(text: &str, field: Option<&str>) -> Result<Secret, String> {
    let secret = match field {
        None => Secret::new(text),
        Some(field) => {
            // The parser's own message could show a piece of the secret.
            let object: Value = serde_json::from_str(text).map_err(|_| {
                format!(
                    "it is not JSON, so it has no field '{field}'; fix: correct it, or name no field (TS_SECRET_FIELD)"
                )
            })?;
            match object.get(field) {
                Some(Value::String(key)) => Secret::new(key),
                Some(_) => {
                    return Err(format!(
                        "its field '{field}' is not a string; fix: name the field that holds the key (TS_SECRET_FIELD)"
                    ));
                }
                None => {
                    return Err(format!(
                        "it has no field '{field}'; fix: name the field that holds the key (TS_SECRET_FIELD)"
                    ));
                }
            }
        }
    };
    if secret.is_empty() {
        return Err("it is empty; fix: store the Tailscale auth key in it".to_owned());
    }
    if field.is_none() && secret.expose().starts_with('{') {
        return Err("it is a JSON object; fix: name the field that holds the key (TS_SECRET_FIELD)".to_owned());
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use lambda_env::aws::Access;

    use super::*;
    use crate::{
        auth::{attributes::AttributeError, tailscale_api::ApiError},
        error::tests::assert_documented,
    };

    #[test]
    fn the_key_is_the_text_or_a_field_of_it() {
        assert_eq!(pick(" tskey-auth-a\n", None).unwrap().expose(), "tskey-auth-a");
        let object = r#"{"key":"tskey-auth-a","other":1}"#;
        assert_eq!(pick(object, Some("key")).unwrap().expose(), "tskey-auth-a");
    }

    #[test]
    fn a_secret_without_a_key_is_reported_without_showing_it() {
        for (text, field, expected) in [
            ("", None, "is empty"),
            ("{\"key\":\"tskey-auth-a\"}", None, "name the field"),
            ("tskey-auth-a", Some("key"), "not JSON"),
            ("{\"key\":\"tskey-auth-a\"}", Some("kee"), "no field 'kee'"),
            ("{\"key\":[\"tskey-auth-a\"]}", Some("key"), "not a string"),
        ] {
            let reason = pick(text, field).unwrap_err();
            assert!(
                reason.contains(expected) && !reason.contains("tskey-auth-a"),
                "{reason}"
            );
        }
    }

    fn stored(store: Store) -> StoredKey {
        let config = StoredKeyConfig {
            store,
            field: None,
            access: Access::default(),
        };
        StoredKey::new(config, Vec::new())
    }

    fn secret() -> StoredKey {
        stored(Store::SecretsManager("…".into()))
    }

    fn assert_in_page(error: &JoinError) {
        let message = error.to_string();
        let (_, fix) = message.split_once("; fix: ").unwrap();
        assert_documented(error, fix);
    }

    #[test]
    fn the_page_documents_each_refusal() {
        for reason in secrets_manager::tests::reasons() {
            assert_in_page(&secret().no_key(&reason, SecretError::Temporary));
        }
        for reason in parameter_store::tests::reasons() {
            let parameter = stored(Store::ParameterStore("…".into()));
            assert_in_page(&parameter.no_key(&reason, SecretError::Temporary));
        }
        for (text, field) in [
            ("", None),
            ("{}", None),
            ("tskey-auth-a", Some("…")),
            ("{}", Some("…")),
            (r#"{"…":1}"#, Some("…")),
        ] {
            let reason = pick(text, field).unwrap_err();
            assert_in_page(&secret().no_key(&reason, SecretError::Temporary));
        }
    }

    #[test]
    fn the_page_documents_each_error_of_a_client_secret() {
        let refused = |status| ApiError::Refused {
            base: "…".into(),
            path: "…",
            status,
            reason: "…".into(),
        };
        let errors = [
            OAuthError::NoTags,
            OAuthError::Attribute(AttributeError {
                name: "…".into(),
                problem: "…",
            }),
            refused(401).into(),
            refused(403).into(),
            ApiError::Unusable {
                base: "…".into(),
                reason: "…".into(),
            }
            .into(),
        ];
        for error in errors {
            assert_in_page(&secret().no_client_key(&error));
        }
    }
}
