//! Secrets Manager.

use std::time::Duration;

use aws_sdk_secretsmanager::{
    Client,
    config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ProvideErrorMetadata},
};
use lambda_env::aws::Access;

/// How long Secrets Manager may take, retries included: INIT has 10 s for everything.
const LIMIT: Duration = Duration::from_secs(6);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(2500);
/// How many attempts there are: the pauses between them (1 s at most, then 1.5 s twice) must leave time for the last one's
/// answer, or throttling that goes on would be told as a Secrets Manager that is out of reach.
const ATTEMPTS: u32 = 4;
/// The longest pause before another attempt.
const LONGEST_PAUSE: Duration = Duration::from_millis(1500);

/// The secret's text; or why it cannot be read, and what fixes it.
pub(crate) async fn read(access: &Access, id: &str) -> Result<String, String> {
    let mut config = aws_sdk_secretsmanager::Config::builder()
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
    let answer = Client::from_conf(config.build())
        .get_secret_value()
        .secret_id(id)
        .send()
        .await;
    match answer {
        Ok(answer) => Ok(answer.secret_string().unwrap_or_default().to_owned()),
        Err(error) => {
            let code = error.code();
            let cause = match error.message() {
                Some(message) => message.to_owned(),
                None => DisplayErrorContext(&error).to_string(),
            };
            Err(refusal(code, &cause))
        }
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
            "check that the secret exists, has a value, and is in this region (tsAuthKeySecret)"
        }
        Some("ThrottlingException" | "InternalServiceError") => "none: Secrets Manager is busy, and is asked again",
        Some("InvalidRequestException") => "check that the secret is not scheduled for deletion",
        Some("DecryptionFailure") => "let the function's role do kms:Decrypt on the secret's key",
        Some(_) => "check the secret and the function's role",
        None => "check the function's way to Secrets Manager (subnets, NAT or a VPC endpoint, security groups)",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A reason of each kind.
    pub(crate) fn reasons() -> Vec<String> {
        let codes = [
            "AccessDeniedException",
            "ResourceNotFoundException",
            "ThrottlingException",
            "InternalServiceError",
            "DecryptionFailure",
            "InvalidRequestException",
            "…",
        ];
        let codes = codes.map(Some).into_iter().chain([None]);
        codes.map(|code| refusal(code, "…")).collect()
    }
}
