//! Login without a stored key: the function's role gets an OIDC token from AWS, and Tailscale's workload identity
//! federation takes that for an auth key.

use std::time::Duration;

use lambda_env::aws::Access;
use thiserror::Error;

use crate::{
    auth::{
        attributes::Attributes,
        key_source::KeySource,
        secret::Secret,
        sts::{StsError, WebIdentityToken, web_identity_token},
        tailscale_api::{ApiError, KeyRequest, Session},
    },
    error::{JoinError, SecretError},
};

/// Where the role's token is exchanged for an access token.
const EXCHANGE: &str = "/api/v2/oauth/token-exchange";
/// For how long a key can be used: the login follows at once.
const KEY_LIFE: Duration = Duration::from_secs(300);

/// As whom Tailscale knows the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadIdentity {
    /// The id of Tailscale's trust credential, without attributes.
    pub client_id: String,
    /// The attributes that followed it.
    pub attributes: Attributes,
    /// For whom the role's token is made.
    pub audience: String,
    /// The machine's tags: the trust credential must have them.
    pub tags: Vec<String>,
    /// Where STS is, and as whom it is asked.
    pub access: Access,
}

/// Why the role brought no key. All of it may be fixed while the function stays as it is: at Tailscale, in the role's
/// policies, in the account.
#[derive(Debug, Error)]
pub enum WorkloadIdentityError {
    /// AWS gave no token.
    #[error(transparent)]
    NoToken(StsError),
    /// Tailscale did not accept the token.
    #[error("{error}; {sent}; fix: make the trust credential's issuer, audience and subject equal to these")]
    NotExchanged {
        /// The API's answer.
        error: ApiError,
        /// What was sent.
        sent: String,
    },
    /// Tailscale accepted the token, and made no key.
    #[error(
        "{error}; tags '{tags}'; fix: give the trust credential the scope auth_keys (write) and these tags, which it must own by the policy's tagOwners"
    )]
    NoKey {
        /// The API's answer.
        error: ApiError,
        /// The tags that were asked for.
        tags: String,
    },
    /// The API is busy.
    #[error("{0}; fix: none: Tailscale's API is busy, and is asked again")]
    Busy(ApiError),
    /// No response of the API came, or none that can be understood.
    #[error("{0}; fix: check the function's way out (subnets, NAT, security groups)")]
    Unusable(ApiError),
}

impl WorkloadIdentity {
    /// A new key, for one login.
    async fn new_key(&self) -> Result<Secret, WorkloadIdentityError> {
        let mut api = Session::new(&self.attributes.base, self.access.wire());
        // The connection to Tailscale takes as long as STS does.
        let (token, ()) = tokio::join!(web_identity_token(&self.access, &self.audience), api.connect());
        let token = token.map_err(WorkloadIdentityError::NoToken)?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.client_id)
            .append_pair("jwt", token.token.expose())
            .finish();
        let exchanged = api.access_token(EXCHANGE, form, &token.token).await;
        let access_token = exchanged.map_err(|error| self.not_exchanged(error, &token))?;
        let wanted = KeyRequest {
            ephemeral: self.attributes.ephemeral,
            preauthorized: self.attributes.preauthorized,
            tags: &self.tags,
            expiry: Some(KEY_LIFE),
        };
        let key = api.create_key(&access_token, &wanted).await;
        key.map_err(|error| self.no_key(error))
    }

    fn not_exchanged(&self, error: ApiError, token: &WebIdentityToken) -> WorkloadIdentityError {
        let sent = || {
            format!(
                "issuer '{}', audience '{}', subject '{}', tags '{}'",
                token.issuer,
                self.audience,
                token.subject,
                self.tags.join(",")
            )
        };
        Self::failed(error, |error| WorkloadIdentityError::NotExchanged {
            error,
            sent: sent(),
        })
    }

    fn no_key(&self, error: ApiError) -> WorkloadIdentityError {
        let tags = self.tags.join(",");
        Self::failed(error, |error| WorkloadIdentityError::NoKey { error, tags })
    }

    fn failed(error: ApiError, refused: impl FnOnce(ApiError) -> WorkloadIdentityError) -> WorkloadIdentityError {
        match error {
            ApiError::Refused {
                status: 429 | 500.., ..
            } => WorkloadIdentityError::Busy(error),
            ApiError::Refused { .. } => refused(error),
            ApiError::Unusable { .. } => WorkloadIdentityError::Unusable(error),
        }
    }

    fn no_auth_key(&self, error: &WorkloadIdentityError) -> JoinError {
        JoinError::NoAuthKey {
            reason: format!("cannot get an auth key for the client id '{}': {error}", self.client_id),
            kind: SecretError::Temporary,
        }
    }
}

impl KeySource for WorkloadIdentity {
    async fn login_key(&self) -> Result<Secret, JoinError> {
        self.new_key().await.map_err(|error| self.no_auth_key(&error))
    }

    /// Each login has a key of its own: another one is always to be had.
    async fn changed(&self) -> Result<bool, JoinError> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::sts, error::tests::assert_documented};

    fn identity() -> WorkloadIdentity {
        WorkloadIdentity {
            client_id: "…".into(),
            attributes: Attributes {
                ephemeral: true,
                preauthorized: true,
                base: "…".into(),
            },
            audience: "…".into(),
            tags: vec!["tag:…".into()],
            access: Access::default(),
        }
    }

    fn refused(status: u16) -> ApiError {
        ApiError::Refused {
            base: "…".into(),
            path: "…",
            status,
            reason: "…".into(),
        }
    }

    #[test]
    fn the_page_documents_each_refusal() {
        let identity = identity();
        let token = WebIdentityToken {
            token: Secret::new("…"),
            issuer: "…".into(),
            subject: "…".into(),
        };
        let unusable = ApiError::Unusable {
            base: "…".into(),
            reason: "…".into(),
        };
        let errors = sts::tests::errors().into_iter().map(WorkloadIdentityError::NoToken);
        let errors = errors.chain([
            identity.not_exchanged(refused(401), &token),
            identity.not_exchanged(refused(429), &token),
            identity.not_exchanged(unusable, &token),
            identity.no_key(refused(403)),
            identity.no_key(refused(503)),
        ]);
        for error in errors {
            let error = identity.no_auth_key(&error);
            let message = error.to_string();
            let (_, fix) = message.split_once("; fix: ").unwrap_or_default();
            assert_documented(&error, fix);
        }
    }
}
