//! A secret's text in Secrets Manager.

use std::time::Duration;

use aws_sdk_secretsmanager::{
    Client, Config,
    config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ProvideErrorMetadata},
};
use thiserror::Error;

use super::Access;

/// How long Secrets Manager may take, retries included: INIT has 10 s for everything.
const LIMIT: Duration = Duration::from_secs(6);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(2500);
/// How many attempts there are: the pauses between them (1 s at most, then 1.5 s twice) must leave time for the last one's
/// response, or throttling that goes on would be told as a Secrets Manager that is out of reach.
const ATTEMPTS: u32 = 4;
/// The longest pause before another attempt.
const LONGEST_PAUSE: Duration = Duration::from_millis(1500);

/// Secrets Manager did not return a secret. Who deployed the function must fix it, unless the service is busy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{cause}; fix: {}", named(self.code.as_deref()), remedy(self.code.as_deref()))]
pub struct SecretNotRead {
    /// The service's code for it, if it was the service that refused.
    pub code: Option<String>,
    /// The service's words, or what kept it from being asked.
    pub cause: String,
}

/// The code, as it stands before a cause.
pub fn named(code: Option<&str>) -> String {
    code.map(|code| format!("{code}: ")).unwrap_or_default()
}

/// What fixes a refusal with this code, by
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>; or, without one, that the
/// service was not reached.
pub fn remedy(code: Option<&str>) -> &'static str {
    match code {
        Some("AccessDeniedException") => {
            "let the function's role do secretsmanager:GetSecretValue on it (and kms:Decrypt on its key)"
        }
        Some("ResourceNotFoundException") => "check that the secret exists, has a value, and is in this region",
        Some("ThrottlingException" | "InternalServiceError") => "none: Secrets Manager is busy",
        Some("InvalidRequestException") => "check that the secret is not scheduled for deletion",
        Some("DecryptionFailure") => "let the function's role do kms:Decrypt on the secret's key",
        Some(_) => "check the secret and the function's role",
        None => "check the function's way to Secrets Manager (subnets, NAT or a VPC endpoint, security groups)",
    }
}

/// Reads the text of the secret of this name or ARN; empty where it has none.
///
/// # Errors
/// [`SecretNotRead`], after up to 6 s of attempts.
pub async fn read_secret(access: &Access, secret: &str) -> Result<String, SecretNotRead> {
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(access.region.clone().map(Region::new))
        .http_client(access.wire())
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
    config.set_endpoint_url(access.endpoint.clone());
    if let Some(credentials) = &access.credentials {
        config = config.credentials_provider(credentials.clone());
    }
    let client = Client::from_conf(config.build());
    match client.get_secret_value().secret_id(secret).send().await {
        Ok(answer) => Ok(answer.secret_string.unwrap_or_default()),
        Err(error) => Err(SecretNotRead {
            code: error.code().map(str::to_owned),
            cause: match error.message() {
                Some(message) => message.to_owned(),
                None => DisplayErrorContext(&error).to_string(),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aws_credential_types::Credentials;

    use super::*;

    #[tokio::test]
    async fn what_keeps_a_secret_from_being_read_is_told_with_what_fixes_it() {
        // Takes no connection: the port was free a moment ago.
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let access = Access {
            region: Some("eu-west-1".into()),
            endpoint: Some(format!("http://{}", closed.local_addr().unwrap())),
            credentials: Some(Credentials::new("id", "secret", None, None, "test")),
            ..Access::default()
        };
        drop(closed);
        let message = read_secret(&access, "a").await.unwrap_err().to_string();
        assert!(message.contains("there is no connection to 127.0.0.1"), "{message}");
        assert!(
            message.ends_with("(subnets, NAT or a VPC endpoint, security groups)"),
            "{message}"
        );
    }
}
