//! What stands between callers and the function, whichever front they come by: who may enter, and the invocations under
//! way.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::caller::Identity;
use super::errors::ServiceError;
use super::request_body::{discard, read_body};
use super::sigv4::Claim;
use super::{Settings, limits, signature};
use crate::invocation::{Answer, Function, Invocation, InvokeError};

/// The function, behind its signatures.
pub(crate) struct Gate<F> {
    pub(crate) settings: Settings,
    function: Arc<F>,
    /// An invocation goes on when its client hangs up, as on the service; so they are no part of the connections.
    invocations: Mutex<JoinSet<()>>,
}

impl<F: Function> Gate<F> {
    pub(crate) fn new(settings: Settings, function: Arc<F>) -> Self {
        Self {
            settings,
            function,
            invocations: Mutex::new(JoinSet::new()),
        }
    }

    /// Ends what is still running.
    pub(crate) async fn end(&self) {
        let mut invocations = std::mem::take(&mut *self.invocations.lock().unwrap_or_else(PoisonError::into_inner));
        invocations.shutdown().await;
    }

    /// Lets in whoever may call, together with the body that they signed.
    pub(crate) async fn admit(&self, parts: &Parts, mut body: Incoming) -> Result<(Identity, Bytes), ServiceError> {
        let claim = match Claim::read(parts, &self.settings) {
            Ok(claim) => claim,
            Err(refusal) => {
                discard(parts, &mut body).await;
                return Err(refusal);
            }
        };
        let body = read_body(parts, body).await?;
        signature::verify(&claim, parts, &body, &self.settings.region)?;
        Ok((Identity::of(claim.caller, &self.settings.account_id), body))
    }

    /// Runs an invocation, and waits for its answer.
    pub(crate) async fn invoke(&self, invocation: Invocation) -> Result<Answer, InvokeError> {
        let unheard = Err(failed("Service.Exception", "the invocation was ended"));
        self.begin(invocation).await.unwrap_or(unheard)
    }

    /// Runs an invocation, whether or not somebody waits for its answer.
    pub(crate) fn begin(&self, invocation: Invocation) -> oneshot::Receiver<Result<Answer, InvokeError>> {
        let (sender, receiver) = oneshot::channel();
        let function = Arc::clone(&self.function);
        self.start(async move {
            let outcome = timeout(limits::INVOCATION, function.invoke(invocation)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(failed("Sandbox.Timedout", "no function runs that long")));
            // An error means that the client has gone: then nobody wants the answer.
            let _ = sender.send(outcome);
        });
        receiver
    }

    fn start(&self, invocation: impl Future<Output = ()> + Send + 'static) {
        let mut invocations = self.invocations.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = invocations.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "an invocation did not end as it should");
            }
        }
        invocations.spawn(invocation);
    }
}

fn failed(error_type: &str, message: &str) -> InvokeError {
    InvokeError::Function {
        error_type: error_type.to_owned(),
        message: message.to_owned(),
    }
}
