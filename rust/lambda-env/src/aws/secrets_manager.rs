//! A secret's text in Secrets Manager.
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>

use serde::Deserialize;
use thiserror::Error;

use super::{Access, Call, CallError, JsonRefusal};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecretValue {
    /// A secret of bytes has none.
    #[serde(default)]
    secret_string: String,
}

/// The code of a service that is asked too often.
const THROTTLED: &str = "ThrottlingException";

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

/// What fixes a refusal with this code; or, without one, that the
/// service was not reached.
pub fn remedy(code: Option<&str>) -> &'static str {
    match code {
        Some("AccessDeniedException") => {
            "let the function's role do secretsmanager:GetSecretValue on it (and kms:Decrypt on its key)"
        }
        Some("ResourceNotFoundException") => "check that the secret exists, has a value, and is in this region",
        Some(THROTTLED | "InternalServiceError") => "none: Secrets Manager is busy",
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
    let body = serde_json::json!({ "SecretId": secret }).to_string();
    let call = Call {
        service: "secretsmanager",
        path: "",
        content_type: "application/x-amz-json-1.1",
        target: Some("secretsmanager.GetSecretValue"),
        body: &body,
    };
    let answer = call.send(access, is_busy).await.map_err(not_read)?;
    // The parser's own words could show a piece of the secret.
    let value: SecretValue = serde_json::from_slice(&answer).map_err(|_| SecretNotRead {
        code: None,
        cause: "the answer is not as documented".to_owned(),
    })?;
    Ok(value.secret_string)
}

fn is_busy(body: &[u8]) -> bool {
    JsonRefusal::read(body).is_some_and(|refusal| refusal.code() == THROTTLED)
}

fn not_read(error: CallError) -> SecretNotRead {
    let refusal = match &error {
        CallError::Refused(response) => JsonRefusal::read(response.body()),
        CallError::NoResponse(_) => None,
    };
    let code = refusal.as_ref().map(|refusal| refusal.code().to_owned());
    let message = refusal
        .as_ref()
        .and_then(|refusal| refusal.message().map(str::to_owned));
    SecretNotRead {
        code,
        cause: message.unwrap_or_else(|| error.to_string()),
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
