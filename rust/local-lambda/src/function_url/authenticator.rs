//! What stands between callers and the function, whichever front they come by: who may enter.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::task::{JoinError, JoinHandle};

use super::caller::Identity;
use super::errors::ServiceError;
use super::sigv4::SignedRequest;
use super::{Settings, limits, signature};
use crate::invocation::{Answer, Function, Invocation, InvokeError};

/// The function, behind its signatures.
pub(crate) struct Authenticator<F> {
    pub(crate) settings: Settings,
    function: Arc<F>,
}

impl<F: Function> Authenticator<F> {
    pub(crate) fn new(settings: Settings, function: Arc<F>) -> Self {
        Self { settings, function }
    }

    /// Lets in whoever may call, together with the body that they signed.
    pub(crate) async fn admit(&self, parts: &Parts, mut body: Incoming) -> Result<(Identity, Bytes), ServiceError> {
        let signed = match SignedRequest::read(parts, &self.settings) {
            Ok(signed) => signed,
            Err(refusal) => {
                discard(&mut body).await;
                return Err(refusal);
            }
        };
        let body = read_body(body).await?;
        let function = &self.settings.function;
        signature::verify(&signed, parts, &body, &function.region)?;
        Ok((Identity::of(signed.caller, &function.account_id), body))
    }

    /// Runs an invocation, and waits for its answer.
    pub(crate) async fn invoke(&self, invocation: Invocation) -> Result<Answer, InvokeError> {
        let ended = |error: JoinError| InvokeError::Function {
            error_type: "Service.Exception".to_owned(),
            message: error.to_string(),
        };
        self.begin(invocation).await.map_err(ended)?
    }

    /// Runs an invocation, whether or not somebody waits for its answer: it goes on when its client hangs up, as on the
    /// service, and ends with its environment at the latest.
    pub(crate) fn begin(&self, invocation: Invocation) -> JoinHandle<Result<Answer, InvokeError>> {
        let function = Arc::clone(&self.function);
        tokio::spawn(async move { function.invoke(invocation).await })
    }
}

/// Reads a body that can still fit into an event. JSON never is smaller than what it holds.
async fn read_body(mut body: Incoming) -> Result<Bytes, ServiceError> {
    let mut read = BytesMut::new();
    let mut fits = body.size_hint().lower() <= limits::EVENT_BYTES as u64;
    while fits {
        let Some(frame) = body.frame().await else {
            return Ok(read.freeze());
        };
        let frame = frame.map_err(|error| {
            tracing::info!(%error, "the request's body broke off");
            ServiceError::request_incomplete()
        })?;
        if let Ok(data) = frame.into_data() {
            read.extend_from_slice(&data);
        }
        fits = read.len() <= limits::EVENT_BYTES;
    }
    discard(&mut body).await;
    Err(ServiceError::request_too_large())
}

/// Reads what is left of a refused request, so that its sender gets to see the answer: a server that closes with unread
/// bytes resets the connection, and the answer may be lost with it.
async fn discard(body: &mut Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}
