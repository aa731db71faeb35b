//! Secrets Manager.

use lambda_env::aws::{
    Access,
    secrets_manager::{self, named, read_secret},
};

/// The secret's text; or why it cannot be read, and what fixes it.
pub(crate) async fn read(access: &Access, id: &str) -> Result<String, String> {
    let refused = |error: secrets_manager::SecretNotRead| refusal(error.code.as_deref(), &error.cause);
    read_secret(access, id).await.map_err(refused)
}

/// Why Secrets Manager did not return the secret, and what fixes it.
fn refusal(code: Option<&str>, cause: &str) -> String {
    let remedy = match code {
        Some("ResourceNotFoundException") => {
            "check that the secret exists, has a value, and is in this region (tsAuthKeySecret)"
        }
        Some("ThrottlingException" | "InternalServiceError") => "none: Secrets Manager is busy, and is asked again",
        _ => secrets_manager::remedy(code),
    };
    format!("{}{cause}; fix: {remedy}", named(code))
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
