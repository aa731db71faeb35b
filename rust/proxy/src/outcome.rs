//! What comes of an invocation, in the form that its caller takes.

use lambda_http::{Context, lambda_runtime::Diagnostic};
use serde::Serialize;
use warm_up::Warm;

use crate::{error::ProxyError, handler::Handler, invocation::Invocation, response::Response};

/// What an invocation is answered with.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// A request's: the Function URL turns it into a response.
    Answer(Response),
    /// A warm-up's, for the warmer.
    Warm(Warm),
}

impl Outcome {
    /// Runs one invocation. Only a warm-up can fail: a request is always answered.
    pub async fn of(handler: &Handler, invocation: Invocation, context: &Context) -> Result<Self, ProxyError> {
        match invocation {
            Invocation::Request(event) => Ok(Self::Answer(handler.answer(*event, context).await)),
            Invocation::WarmUp(warm_up) => handler.warm_up(warm_up, context.deadline).await.map(Self::Warm),
        }
    }
}

/// For an invocation that fails: the Runtime API's error.
impl From<ProxyError> for Diagnostic {
    fn from(error: ProxyError) -> Self {
        Self {
            error_type: error.code().1.to_owned(),
            error_message: error.to_string(),
        }
    }
}
