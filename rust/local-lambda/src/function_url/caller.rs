//! What the event says of who called.

use crate::config::Credentials;

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
    pub(crate) fn of(caller: &Credentials, account_id: &str) -> Self {
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
