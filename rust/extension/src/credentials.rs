//! The auth key, from Secrets Manager: read once, kept in memory for the logins to come.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, Region, environment::EnvironmentVariableCredentialsProvider, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_secretsmanager::{Client, error::DisplayErrorContext};
use thiserror::Error;
use tokio::sync::OnceCell;

use crate::secret::Secret;

/// How long Secrets Manager may take, retries included: INIT has 10 s for everything.
const LIMIT: Duration = Duration::from_secs(6);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(2500);

/// Why there is no key.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// Secrets Manager refused, failed or could not be reached. Who deployed the function must mend it.
    #[error(
        "the secret '{secret_id}' cannot be read from Secrets Manager: {cause}; check that it exists and that the \
         function's role may do secretsmanager:GetSecretValue on it (and kms:Decrypt on its key)"
    )]
    Unreadable {
        /// Its ARN or name.
        secret_id: String,
        /// What Secrets Manager, or the way to it, said.
        cause: String,
    },
    /// The secret holds no text.
    #[error("the secret '{secret_id}' holds no text: store the Tailscale auth key in it as plain text")]
    Empty {
        /// Its ARN or name.
        secret_id: String,
    },
}

/// Reads the secret when it is first needed.
#[derive(Debug)]
pub struct Credentials {
    secret_id: String,
    key: OnceCell<Secret>,
}

impl Credentials {
    /// The credentials in the secret with this ARN or name.
    pub fn new(secret_id: String) -> Self {
        Self {
            secret_id,
            key: OnceCell::new(),
        }
    }

    /// The auth key; a failure is not remembered, the next call asks again.
    pub async fn key(&self) -> Result<Secret, CredentialsError> {
        self.key.get_or_try_init(|| self.read()).await.cloned()
    }

    async fn read(&self) -> Result<Secret, CredentialsError> {
        let unreadable = |cause| CredentialsError::Unreadable {
            secret_id: self.secret_id.clone(),
            cause,
        };
        // Lambda gives both in the environment; the default chains would look elsewhere first, and take their time.
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(std::env::var("AWS_REGION").ok().map(Region::new))
            .credentials_provider(EnvironmentVariableCredentialsProvider::new())
            .retry_config(RetryConfig::standard().with_max_attempts(4))
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_timeout(LIMIT)
                    .operation_attempt_timeout(ATTEMPT)
                    .build(),
            )
            .load()
            .await;
        let answer = Client::new(&config)
            .get_secret_value()
            .secret_id(&self.secret_id)
            .send()
            .await;
        let answer = answer.map_err(|error| unreadable(DisplayErrorContext(error).to_string()))?;
        let key = Secret::new(answer.secret_string().unwrap_or_default());
        if key.is_empty() {
            return Err(CredentialsError::Empty {
                secret_id: self.secret_id.clone(),
            });
        }
        Ok(key)
    }
}
