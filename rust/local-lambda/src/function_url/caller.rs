//! Who may call the URL, and what the event says of them.

use std::fmt;

/// Credentials that may call the URL.
#[derive(Clone)]
pub struct Caller {
    /// The access key's id, as in the caller's credential scope.
    pub access_key_id: String,
    /// The secret that the caller signs with.
    pub secret_access_key: String,
    /// The token that temporary credentials come with: then it must be sent, and must be this one.
    pub session_token: Option<String>,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &"[redacted]")
            .field("session_token", &self.session_token.as_ref().map(|_| "[redacted]"))
            .finish()
    }
}

/// What `requestContext.authorizer.iam` says of a caller.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    access_key: String,
    account_id: String,
    caller_id: String,
    cognito_identity: Option<String>,
    principal_org_id: Option<String>,
    user_arn: String,
    user_id: String,
}

impl Identity {
    /// There is no IAM here, so the names are made up, in the forms that IAM gives them
    /// (doc: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>):
    /// temporary credentials belong to a role's session, permanent ones to a user.
    pub(crate) fn of(caller: &Caller, account_id: &str) -> Self {
        let (id, arn) = if caller.session_token.is_some() {
            let arn = format!("arn:aws:sts::{account_id}:assumed-role/local-caller/local-session");
            ("AROALOCALCALLER000000:local-session", arn)
        } else {
            (
                "AIDALOCALCALLER000000",
                format!("arn:aws:iam::{account_id}:user/local-caller"),
            )
        };
        Self {
            access_key: caller.access_key_id.clone(),
            account_id: account_id.to_owned(),
            caller_id: id.to_owned(),
            cognito_identity: None,
            principal_org_id: None,
            user_arn: arn,
            user_id: id.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn debug_output_holds_no_secret() {
        let caller = Caller {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "the-secret".into(),
            session_token: Some("the-token".into()),
        };
        let shown = format!("{caller:?}");
        assert!(shown.contains("AKIDEXAMPLE"));
        assert!(!shown.contains("the-secret") && !shown.contains("the-token"), "{shown}");
    }
}
