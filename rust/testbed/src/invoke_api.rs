//! Lambda's Invoke API, as a caller with an AWS SDK uses it.

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;

use crate::{
    Error,
    function_url::FunctionUrl,
    http_call::{json, succeeded},
};

/// The API in front of one function, and who calls it.
#[derive(Debug, Clone)]
pub struct InvokeApi {
    /// `host:port`.
    pub address: String,
    /// Who signs.
    pub caller: Credentials,
}

/// What became of an invocation.
#[derive(Debug, Clone, PartialEq)]
pub struct Invoked {
    /// Whether the function failed: the payload then says how.
    pub failed: bool,
    /// The function's answer.
    pub payload: Value,
}

impl InvokeApi {
    /// Where it is, as `AWS_ENDPOINT_URL_LAMBDA` takes it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Invokes the function of this name, and waits for its answer.
    pub async fn invoke(&self, function: &str, payload: &Value) -> Result<Invoked, Error> {
        let answer = self.call(function, payload, "RequestResponse").await?;
        let failed = answer.status() == StatusCode::OK && answer.headers().contains_key("x-amz-function-error");
        let path = path(function);
        let payload = json(&path, &succeeded(&path, answer)?)?;
        Ok(Invoked { failed, payload })
    }

    /// Hands an event over, as a rule of EventBridge's does: nobody waits for the answer.
    pub async fn send(&self, function: &str, event: &Value) -> Result<(), Error> {
        let answer = self.call(function, event, "Event").await?;
        succeeded(&path(function), answer)?;
        Ok(())
    }

    async fn call(&self, function: &str, payload: &Value, kind: &str) -> Result<Response<Bytes>, Error> {
        // The two are signed alike.
        let door = FunctionUrl {
            address: self.address.clone(),
            caller: self.caller.clone(),
        };
        let request = door
            .request("POST", &path(function))
            .header("x-amz-invocation-type", kind)
            .body(Bytes::from(payload.to_string()));
        door.send(request?).await
    }
}

fn path(function: &str) -> String {
    format!("/2015-03-31/functions/{function}/invocations")
}
