//! Tailscale's API, as far as a login needs it: an access token, and an auth key for that.

use std::time::Duration;

use aws_smithy_runtime_api::client::{
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Limited};
use lambda_env::aws::{Connection, Wire};
use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::time::timeout;

use crate::auth::secret::Secret;

/// Where keys are made.
const KEYS: &str = "/api/v2/tailnet/-/keys";
/// How long one request may take, its connection included.
const LIMIT: Duration = Duration::from_millis(2500);
/// The longest response that is read.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// How much of a refusal is shown, in characters.
const SHOWN: usize = 200;

/// Why the API did not do what it was asked to.
#[derive(Debug, Error)]
pub enum ApiError {
    /// It refused.
    #[error("Tailscale's API at {base} answered {path} with {status}: {reason}")]
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
    /// No response came, or none that can be understood.
    #[error("Tailscale's API at {base} cannot be used: {reason}")]
    Unusable {
        /// Where it is.
        base: String,
        /// What went wrong.
        reason: String,
    },
}

/// An auth key to be made: for one machine.
#[derive(Debug, Clone)]
pub struct KeyRequest<'a> {
    /// The machine leaves the tailnet when it is not seen any more.
    pub ephemeral: bool,
    /// Nobody needs to approve the machine.
    pub preauthorized: bool,
    /// The machine's tags.
    pub tags: &'a [String],
    /// For how long the key can be used; for as long as the API says by default, if unset.
    pub expiry: Option<Duration>,
}

/// The requests of one login, on one connection if the API keeps it open.
#[derive(Debug)]
pub struct Session {
    base: String,
    wire: Wire,
    connection: Option<Connection>,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

impl Session {
    /// No connection yet: they are `wire`'s.
    pub fn new(base: &str, wire: Wire) -> Self {
        Self {
            base: base.to_owned(),
            wire,
            connection: None,
        }
    }

    /// Opens the connection ahead of the first request. Does nothing if it fails: the request tries again, and says why.
    pub async fn connect(&mut self) {
        if let Ok(connection) = self.wire.open(&self.base).await {
            self.connection = Some(connection);
        }
    }

    /// Exchanges `credential`, which is part of `form`, for an access token.
    pub async fn access_token(
        &mut self,
        path: &'static str,
        form: String,
        credential: &Secret,
    ) -> Result<Secret, ApiError> {
        let request = self.request(path, "application/x-www-form-urlencoded");
        let token: Token = self.post(path, request, form, credential).await?;
        Ok(Secret::new(&token.access_token))
    }

    /// Makes a key.
    pub async fn create_key(&mut self, token: &Secret, wanted: &KeyRequest<'_>) -> Result<Secret, ApiError> {
        let request = self
            .request(KEYS, "application/json")
            .header("authorization", format!("Bearer {}", token.expose()));
        let mut body = serde_json::json!({"capabilities": {"devices": {"create": {
            "reusable": false, "ephemeral": wanted.ephemeral, "preauthorized": wanted.preauthorized, "tags": wanted.tags,
        }}}});
        if let Some(expiry) = wanted.expiry {
            body["expirySeconds"] = expiry.as_secs().into();
        }
        let key: Key = self.post(KEYS, request, body.to_string(), token).await?;
        Ok(Secret::new(&key.key))
    }

    fn request(&self, path: &str, content_type: &str) -> http::request::Builder {
        Request::post(format!("{}{path}", self.base)).header("content-type", content_type)
    }

    async fn post<T: DeserializeOwned>(
        &mut self,
        path: &'static str,
        request: http::request::Builder,
        body: String,
        secret: &Secret,
    ) -> Result<T, ApiError> {
        let request = request.body(SdkBody::from(body));
        let request = HttpRequest::try_from(request.map_err(|error| self.unusable(&error))?);
        let request = request.map_err(|error| self.unusable(&error))?;
        let exchanged = timeout(LIMIT, self.send(request)).await;
        let response = exchanged
            .map_err(|_| self.unusable(&format!("it did not answer within {} ms", LIMIT.as_millis())))?
            .map_err(|error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                self.unusable(&cause.unwrap_or_else(|| error.to_string()))
            })?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await;
        let body = body.map_err(|error| self.unusable(&error))?.to_bytes();
        if !(200..300).contains(&status) {
            return Err(self.refused(path, status, &body, secret));
        }
        // The parser's own words could show a piece of the key.
        serde_json::from_slice(&body).map_err(|_| self.unusable(&format!("its answer to {path} is not as documented")))
    }

    /// By the same way as to AWS: a second HTTP client would be a good deal of code.
    async fn send(&mut self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let mut connection = match self.connection.take().filter(Connection::is_open) {
            Some(connection) => connection,
            None => self.wire.open(request.uri()).await?,
        };
        let response = connection.call(request).await?;
        self.connection = Some(connection);
        Ok(response)
    }

    fn refused(&self, path: &'static str, status: u16, body: &Bytes, secret: &Secret) -> ApiError {
        #[derive(Deserialize)]
        struct Refusal {
            message: String,
        }
        let mut reason = match serde_json::from_slice::<Refusal>(body) {
            Ok(refusal) => refusal.message,
            Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
        };
        // A server that echoes what it was sent must not bring a secret into the log.
        if !secret.is_empty() {
            reason = reason.replace(secret.expose(), "[redacted]");
        }
        ApiError::Refused {
            base: self.base.clone(),
            path,
            status,
            reason: reason.chars().take(SHOWN).collect(),
        }
    }

    fn unusable(&self, reason: &impl ToString) -> ApiError {
        ApiError::Unusable {
            base: self.base.clone(),
            reason: reason.to_string(),
        }
    }
}
