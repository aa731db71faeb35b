//! The secret in Secrets Manager: an auth key, or a client secret that is exchanged for a new key at each login. It is
//! kept in memory for later logins.

use std::time::Duration;

use aws::{Access, Wire};
use aws_sdk_secretsmanager::{
    Client,
    config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ProvideErrorMetadata},
};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{
    auth::{
        key_source::KeySource,
        oauth::{ClientSecret, OAuthError},
        secret::Secret,
    },
    config::Config,
    error::{JoinError, SecretError},
};

/// How long Secrets Manager may take, retries included: INIT has 10 s for everything.
const LIMIT: Duration = Duration::from_secs(6);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(2500);
/// How many attempts there are: the pauses between them (1 s at most, then 1.5 s twice) must leave time for the last one's
/// answer, or throttling that goes on would be told as a Secrets Manager that is out of reach.
const ATTEMPTS: u32 = 4;
/// The longest pause before another attempt.
const LONGEST_PAUSE: Duration = Duration::from_millis(1500);

/// The secret, and what it takes to make a key of it.
#[derive(Debug)]
pub struct Credentials {
    secret_id: String,
    access: Access,
    field: Option<String>,
    tags: Vec<String>,
    known: Mutex<Option<Secret>>,
}

impl Credentials {
    /// The credentials in the secret that `config` names.
    pub fn new(config: &Config) -> Self {
        Self {
            secret_id: config.secret_id.clone(),
            access: config.secrets.clone(),
            field: config.secret_field.clone(),
            tags: config.advertise_tags.clone(),
            known: Mutex::new(None),
        }
    }

    async fn read(&self) -> Result<Secret, JoinError> {
        let mut config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.access.region.clone().map(Region::new))
            .http_client(self.wire())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_max_backoff(LONGEST_PAUSE),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_timeout(LIMIT)
                    .operation_attempt_timeout(ATTEMPT)
                    .build(),
            );
        config.set_endpoint_url(self.access.endpoint.clone());
        if let Some(credentials) = &self.access.credentials {
            config = config.credentials_provider(credentials.clone());
        }
        let answer = Client::from_conf(config.build())
            .get_secret_value()
            .secret_id(&self.secret_id)
            .send()
            .await;
        match answer {
            Ok(answer) => pick(answer.secret_string().unwrap_or_default(), self.field.as_deref())
                .map_err(|reason| self.no_key(&reason, SecretError::Temporary)),
            Err(error) => {
                let code = error.code();
                let cause = match error.message() {
                    Some(message) => message.to_owned(),
                    None => DisplayErrorContext(&error).to_string(),
                };
                Err(self.no_key(&refusal(code, &cause), SecretError::Temporary))
            }
        }
    }

    fn wire(&self) -> Wire {
        Wire::default().through(self.access.proxy.clone())
    }

    fn no_client_key(&self, error: OAuthError) -> JoinError {
        self.no_key(&error.to_string(), error.kind())
    }

    fn no_key(&self, reason: &str, kind: SecretError) -> JoinError {
        let reason = format!("cannot read an auth key from secret '{}': {reason}", self.secret_id);
        JoinError::NoAuthKey { reason, kind }
    }
}

impl KeySource for Credentials {
    /// The secret is read once; a failure is not remembered, the next call asks again.
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
                .through(self.wire())
                .new_key()
                .await
                .map_err(|error| self.no_client_key(error)),
            Some(Err(error)) => Err(self.no_client_key(error)),
        }
    }

    async fn changed(&self) -> Result<bool, JoinError> {
        let mut known = self.known.lock().await;
        let secret = self.read().await?;
        let changed = known.as_ref() != Some(&secret);
        *known = Some(secret);
        Ok(changed)
    }
}

/// Why Secrets Manager did not return the secret, and what fixes it.
fn refusal(code: Option<&str>, cause: &str) -> String {
    let named = code.map(|code| format!("{code}: ")).unwrap_or_default();
    format!("{named}{cause}; fix: {}", remedy(code))
}

/// What fixes it, by the codes of
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>.
fn remedy(code: Option<&str>) -> &'static str {
    match code {
        Some("AccessDeniedException") => {
            "let the function's role do secretsmanager:GetSecretValue on it (and kms:Decrypt on its key)"
        }
        Some("ResourceNotFoundException") => {
            "check that the secret exists, has a value, and is in the function's region (tsSecretApiKey)"
        }
        Some("ThrottlingException" | "InternalServiceError") => "none: Secrets Manager is busy, and is asked again",
        Some("InvalidRequestException") => "check that the secret is not scheduled for deletion",
        Some("DecryptionFailure") => "let the function's role do kms:Decrypt on the secret's key",
        Some(_) => "check the secret and the function's role",
        None => "check the function's way to Secrets Manager (subnets, NAT or a VPC endpoint, security groups)",
    }
}

/// The key in the secret's text: all of it, or one field of the JSON object that it is.
fn pick(text: &str, field: Option<&str>) -> Result<Secret, String> {
    let secret = match field {
        None => Secret::new(text),
        Some(field) => {
            // The parser's own message could show a piece of the secret.
            let object: Value = serde_json::from_str(text).map_err(|_| {
                format!("it is not JSON, so it has no field '{field}'; fix: correct the secret, or name no field (TS_SECRET_FIELD)")
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
    use super::*;
    use crate::error::tests::assert_documented;

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

    fn credentials(field: Option<&str>) -> Credentials {
        Credentials {
            secret_id: "…".into(),
            access: Access::default(),
            field: field.map(str::to_owned),
            tags: Vec::new(),
            known: Mutex::default(),
        }
    }

    fn assert_in_readme(error: &JoinError) {
        let message = error.to_string();
        let (_, fix) = message.split_once("; fix: ").unwrap();
        assert_documented(error, fix);
    }

    #[test]
    fn the_readme_documents_each_refusal() {
        let codes = [
            "AccessDeniedException",
            "ResourceNotFoundException",
            "ThrottlingException",
            "InternalServiceError",
            "DecryptionFailure",
            "InvalidRequestException",
            "…",
        ];
        for code in codes.map(Some).into_iter().chain([None]) {
            assert_in_readme(&credentials(None).no_key(&refusal(code, "…"), SecretError::Temporary));
        }
        for (text, field) in [
            ("", None),
            ("{}", None),
            ("tskey-auth-a", Some("…")),
            ("{}", Some("…")),
            (r#"{"…":1}"#, Some("…")),
        ] {
            let reason = pick(text, field).unwrap_err();
            assert_in_readme(&credentials(field).no_key(&reason, SecretError::Temporary));
        }
    }

    #[test]
    fn the_readme_documents_each_error_of_a_client_secret() {
        let base = || "…".to_owned();
        let errors = [
            OAuthError::NoTags,
            OAuthError::Attribute {
                name: "…".into(),
                problem: "…",
            },
            OAuthError::Refused {
                base: base(),
                path: "…",
                status: 401,
                reason: base(),
            },
            OAuthError::Refused {
                base: base(),
                path: "…",
                status: 403,
                reason: base(),
            },
            OAuthError::Unusable {
                base: base(),
                reason: base(),
            },
        ];
        for error in errors {
            assert_in_readme(&credentials(None).no_client_key(error));
        }
    }
}
