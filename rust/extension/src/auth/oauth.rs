//! OAuth client secrets: each login takes a new auth key, which Tailscale's API hands out for the secret.
//!
//! The attributes and their defaults are those of Tailscale's own command line (tailscale.com/feature/oauthkey).

use std::{borrow::Cow, time::Duration};

use aws::Wire;
use aws_smithy_runtime_api::client::{http::HttpConnector, orchestrator::HttpRequest};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Limited};
use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::time::timeout;

use crate::{auth::secret::Secret, error::SecretError};

/// What a client secret begins with.
const PREFIX: &str = "tskey-client-";
/// Tailscale's API.
const TAILSCALE: &str = "https://api.tailscale.com";
/// How long one of the two questions may take.
const LIMIT: Duration = Duration::from_millis(2500);
/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How much of a refusal is shown.
const SHOWN: usize = 200;

/// Why a client secret brought no key.
#[derive(Debug, Error)]
pub enum OAuthError {
    /// Such a key must have tags. Who deployed the function must set them.
    #[error("an OAuth client secret needs tags; fix: set tsAdvertiseTags")]
    NoTags,
    /// An attribute behind the secret cannot be used.
    #[error("the OAuth client secret's attribute '{name}' {problem}; fix: correct it, or leave it out")]
    Attribute {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The API refused.
    #[error(
        "Tailscale's API at {base} answered {path} with {status}: {reason}; fix: check the OAuth client (scope auth_keys, its tags) and the policy's tagOwners"
    )]
    Refused {
        /// Where it is.
        base: String,
        /// What was asked.
        path: &'static str,
        /// The status.
        status: u16,
        /// The API's message.
        reason: String,
    },
    /// No answer came, or none that can be understood.
    #[error(
        "Tailscale's API at {base} cannot be used: {reason}; fix: check the function's way out (subnets, NAT, security groups)"
    )]
    Unusable {
        /// Where it is.
        base: String,
        /// What went wrong.
        reason: String,
    },
}

impl OAuthError {
    /// Whether trying again may help. A scope, a tag or a policy can be corrected while the secret stays the same, and a
    /// proxy on the way may answer 403, 404 or 408: only 401 says that the secret itself is wrong.
    pub fn kind(&self) -> SecretError {
        match self {
            Self::NoTags | Self::Attribute { .. } | Self::Refused { status: 401, .. } => SecretError::Permanent,
            Self::Refused { .. } | Self::Unusable { .. } => SecretError::Temporary,
        }
    }
}

/// A client secret, its attributes taken off.
#[derive(Debug)]
pub struct ClientSecret {
    secret: Secret,
    ephemeral: bool,
    preauthorized: bool,
    base: String,
    tags: Vec<String>,
    wire: Wire,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

impl ClientSecret {
    /// Reads `text`; `None` if it is not a client secret.
    pub fn parse(text: &Secret, tags: &[String]) -> Option<Result<Self, OAuthError>> {
        let text = text.expose();
        text.starts_with(PREFIX).then(|| Self::read(text, tags))
    }

    /// The same, with requests that travel by `wire`.
    #[must_use]
    pub fn through(self, wire: Wire) -> Self {
        Self { wire, ..self }
    }

    fn read(text: &str, tags: &[String]) -> Result<Self, OAuthError> {
        if tags.is_empty() {
            return Err(OAuthError::NoTags);
        }
        let (secret, attributes) = text.split_once('?').unwrap_or((text, ""));
        let mut client = Self {
            secret: Secret::new(secret),
            ephemeral: true,
            preauthorized: false,
            base: TAILSCALE.to_owned(),
            tags: tags.to_vec(),
            wire: Wire::default(),
        };
        for (name, value) in form_urlencoded::parse(attributes.as_bytes()) {
            client.set(&name, value)?;
        }
        Ok(client)
    }

    fn set(&mut self, name: &str, value: Cow<'_, str>) -> Result<(), OAuthError> {
        let wrong = |problem| OAuthError::Attribute {
            name: name.to_owned(),
            problem,
        };
        match name {
            _ if value.is_empty() => {}
            "ephemeral" => self.ephemeral = truth(&value).ok_or_else(|| wrong("must be true or false"))?,
            "preauthorized" => self.preauthorized = truth(&value).ok_or_else(|| wrong("must be true or false"))?,
            "baseURL" => {
                if !(value.starts_with("https://") || value.starts_with("http://")) {
                    return Err(wrong("must be an address that begins with https://"));
                }
                self.base = value.trim_end_matches('/').to_owned();
            }
            _ => return Err(wrong("is unknown: there are ephemeral, preauthorized and baseURL")),
        }
        Ok(())
    }

    /// A new key, for one login.
    pub async fn new_key(&self) -> Result<Secret, OAuthError> {
        // The id is ignored: the secret names its client.
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", "tailscale-extension")
            .append_pair("client_secret", self.secret.expose())
            .finish();
        let path = "/api/v2/oauth/token";
        let token: Token = self.post(path, "application/x-www-form-urlencoded", None, form).await?;
        let wish = serde_json::json!({"capabilities": {"devices": {"create": {
            "reusable": false, "ephemeral": self.ephemeral, "preauthorized": self.preauthorized, "tags": self.tags,
        }}}});
        let path = "/api/v2/tailnet/-/keys";
        let bearer = Secret::new(&token.access_token);
        let key: Key = self
            .post(path, "application/json", Some(&bearer), wish.to_string())
            .await?;
        Ok(Secret::new(&key.key))
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &'static str,
        content_type: &str,
        bearer: Option<&Secret>,
        body: String,
    ) -> Result<T, OAuthError> {
        let mut request = Request::post(format!("{}{path}", self.base)).header("content-type", content_type);
        if let Some(bearer) = bearer {
            request = request.header("authorization", format!("Bearer {}", bearer.expose()));
        }
        let request = request
            .body(SdkBody::from(body))
            .map_err(|error| self.unusable(&error))?;
        let answer = timeout(LIMIT, self.exchange(request)).await;
        let (status, answer) = answer.unwrap_or_else(|_| {
            let reason = format!("it did not answer within {} ms", LIMIT.as_millis());
            Err(self.unusable(&reason))
        })?;
        if !(200..300).contains(&status) {
            return Err(self.refused(path, status, &answer, bearer));
        }
        // The parser's own words could show a piece of the key.
        serde_json::from_slice(&answer)
            .map_err(|_| self.unusable(&format!("its answer to {path} is not as documented")))
    }

    /// By the same way as to AWS: a second HTTP client would be a good deal of code.
    async fn exchange(&self, request: Request<SdkBody>) -> Result<(u16, Bytes), OAuthError> {
        let request = HttpRequest::try_from(request).map_err(|error| self.unusable(&error))?;
        let answer = self.wire.call(request).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            self.unusable(&cause.unwrap_or_else(|| error.to_string()))
        })?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        Ok((status, body.map_err(|error| self.unusable(&error))?.to_bytes()))
    }

    fn refused(&self, path: &'static str, status: u16, answer: &[u8], bearer: Option<&Secret>) -> OAuthError {
        #[derive(Deserialize)]
        struct Refusal {
            message: String,
        }
        let mut reason = match serde_json::from_slice::<Refusal>(answer) {
            Ok(refusal) => refusal.message,
            Err(_) => String::from_utf8_lossy(answer).trim().to_owned(),
        };
        // A server that echoes what it was sent must not bring a secret into the log.
        for secret in [Some(&self.secret), bearer]
            .into_iter()
            .flatten()
            .filter(|secret| !secret.is_empty())
        {
            reason = reason.replace(secret.expose(), "[redacted]");
        }
        OAuthError::Refused {
            base: self.base.clone(),
            path,
            status,
            reason: reason.chars().take(SHOWN).collect(),
        }
    }

    fn unusable(&self, reason: &impl ToString) -> OAuthError {
        OAuthError::Unusable {
            base: self.base.clone(),
            reason: reason.to_string(),
        }
    }
}

/// As Go's strconv.ParseBool, which reads these attributes elsewhere.
fn truth(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
