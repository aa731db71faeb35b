//! What stands between callers and the function, whichever front they come by: who may enter.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::task::{JoinError, JoinHandle};

use super::caller::Identity;
use super::errors::ServiceError;
use super::request_body::{discard, read_body};
use super::sigv4::Claim;
use super::{Settings, signature};
use crate::invocation::{Answer, Function, Invocation, InvokeError};

/// The function, behind its signatures.
pub(crate) struct Gate<F> {
    pub(crate) settings: Settings,
    function: Arc<F>,
}

impl<F: Function> Gate<F> {
    pub(crate) fn new(settings: Settings, function: Arc<F>) -> Self {
        Self { settings, function }
    }

    /// Lets in whoever may call, together with the body that they signed.
    pub(crate) async fn admit(&self, parts: &Parts, mut body: Incoming) -> Result<(Identity, Bytes), ServiceError> {
        let claim = match Claim::read(parts, &self.settings) {
            Ok(claim) => claim,
            Err(refusal) => {
                discard(&mut body).await;
                return Err(refusal);
            }
        };
        let body = read_body(body).await?;
        let function = &self.settings.function;
        signature::verify(&claim, parts, &body, &function.region)?;
        Ok((Identity::of(claim.caller, &function.account_id), body))
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
