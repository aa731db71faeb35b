//! OAuth client secrets: each login takes a new auth key, which Tailscale's API hands out for the secret.

use lambda_env::aws::Wire;
use thiserror::Error;

use crate::{
    auth::{
        attributes::{AttributeError, Attributes},
        secret::Secret,
        tailscale_api::{ApiError, KeyRequest, Session},
    },
    error::SecretError,
};

/// What a client secret begins with.
const PREFIX: &str = "tskey-client-";
/// Where it is exchanged for an access token.
const TOKEN: &str = "/api/v2/oauth/token";

/// Why a client secret brought no key.
#[derive(Debug, Error)]
pub enum OAuthError {
    /// Such a key must have tags. Who deployed the function must set them.
    #[error("an OAuth client secret needs tags; fix: set tsAdvertiseTags")]
    NoTags,
    /// An attribute behind the secret cannot be used.
    #[error("the OAuth client secret's {0}; fix: correct it, or leave it out")]
    Attribute(AttributeError),
    /// The API refused.
    #[error("{0}; fix: check the OAuth client (scope auth_keys, its tags) and the policy's tagOwners")]
    Refused(ApiError),
    /// No response came, or none that can be understood.
    #[error("{0}; fix: check the function's way out (subnets, NAT, security groups)")]
    Unusable(ApiError),
}

impl From<ApiError> for OAuthError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Refused { .. } => Self::Refused(error),
            ApiError::Unusable { .. } => Self::Unusable(error),
        }
    }
}

impl OAuthError {
    /// Whether trying again may help. A scope, a tag or a policy can be corrected while the secret stays the same, and a
    /// proxy on the way may answer 403, 404 or 408: only 401 says that the secret itself is wrong.
    pub fn kind(&self) -> SecretError {
        match self {
            Self::NoTags | Self::Attribute(_) | Self::Refused(ApiError::Refused { status: 401, .. }) => {
                SecretError::Permanent
            }
            Self::Refused(_) | Self::Unusable(_) => SecretError::Temporary,
        }
    }
}

/// A client secret, its attributes taken off.
#[derive(Debug)]
pub struct ClientSecret {
    secret: Secret,
    attributes: Attributes,
    tags: Vec<String>,
}

impl ClientSecret {
    /// Reads `text`; `None` if it is not a client secret.
    pub fn parse(text: &Secret, tags: &[String]) -> Option<Result<Self, OAuthError>> {
        let text = text.expose();
        text.starts_with(PREFIX).then(|| Self::read(text, tags))
    }

    fn read(text: &str, tags: &[String]) -> Result<Self, OAuthError> {
        if tags.is_empty() {
            return Err(OAuthError::NoTags);
        }
        let (secret, attributes) = Attributes::split(text, false).map_err(OAuthError::Attribute)?;
        Ok(Self {
            secret: Secret::new(secret),
            attributes,
            tags: tags.to_vec(),
        })
    }

    /// A new key, for one login, by connections of `wire`.
    pub async fn new_key(&self, wire: Wire) -> Result<Secret, OAuthError> {
        // The id is ignored: the secret names its client.
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", "tailscale-extension")
            .append_pair("client_secret", self.secret.expose())
            .finish();
        let mut api = Session::new(&self.attributes.base, wire);
        let token = api.access_token(TOKEN, form, &self.secret).await?;
        let wanted = KeyRequest {
            ephemeral: self.attributes.ephemeral,
            preauthorized: self.attributes.preauthorized,
            tags: &self.tags,
            expiry: None,
        };
        Ok(api.create_key(&token, &wanted).await?)
    }
}
