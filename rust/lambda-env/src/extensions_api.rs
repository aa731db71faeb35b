//! Lambda's Extensions API: register, ask for the next event, report an error.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use thiserror::Error;
use tokio::{net::TcpStream, task::JoinHandle};

const API: &str = "/2020-01-01/extension";
const IDENTIFIER: &str = "lambda-extension-identifier";
const ERROR_TYPE: &str = "lambda-extension-function-error-type";

/// Why the Extensions API gave no usable response. The extension ends then, and Lambda renews the environment.
#[derive(Debug, Error)]
pub enum ApiError {
    /// No connection, or a broken one.
    #[error("the Extensions API at {address} cannot be reached: {source}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It refused.
    #[error("the Extensions API answered {path} with {status}: {body}")]
    Refused {
        /// What was asked.
        path: &'static str,
        /// The status.
        status: StatusCode,
        /// The response's text.
        body: String,
    },
    /// It answered something that is not in its documentation.
    #[error("the Extensions API's response to {path} cannot be understood: {detail}")]
    Malformed {
        /// What was asked.
        path: &'static str,
        /// What is wrong with the response.
        detail: String,
    },
}

/// Which events an extension asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Events {
    /// Both.
    All,
    /// INVOKE costs each invocation the processor's time of an exchange with Lambda. Lambda Managed Instances refuse an
    /// extension that asks for it; nor do they freeze.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html>
    ShutdownOnly,
}

/// What happens next in the life of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "eventType", rename_all = "UPPERCASE")]
pub enum Event {
    /// The function is about to be invoked.
    #[serde(rename_all = "camelCase")]
    Invoke {
        /// When the function's time is up, in ms since 1970.
        deadline_ms: u64,
    },
    /// The environment ends.
    #[serde(rename_all = "camelCase")]
    Shutdown {
        /// Why it ends.
        shutdown_reason: ShutdownReason,
    },
}

/// Why an environment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShutdownReason {
    /// It was idle.
    Spindown,
    /// The function ran into its time-out.
    Timeout,
    /// The runtime or an extension failed.
    Failure,
    /// A reason that Lambda's documentation did not have when this was written.
    #[serde(other)]
    Unknown,
}

/// What runs the extension, once it has registered: Lambda, except in tests.
pub trait LambdaRuntime: Send {
    /// Says that this extension is done with the last event, and waits for the next one.
    fn next(&mut self) -> impl Future<Output = Result<Event, ApiError>> + Send;

    /// Tells that the extension cannot start. Lambda ends the environment when the process has ended.
    fn init_error(&mut self, error_type: &str, message: &str) -> impl Future<Output = Result<(), ApiError>> + Send;
}

/// The connection to the Extensions API, kept for the life of the environment.
pub struct ExtensionsApi {
    address: String,
    sender: http1::SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
    identifier: HeaderValue,
}

impl ExtensionsApi {
    /// Registers for `events` at `address` (`host:port`), under `name`: the name of the extension's file in
    /// `/opt/extensions`, as Lambda demands.
    pub async fn register(address: &str, name: &str, events: Events) -> Result<Self, ApiError> {
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| ApiError::Unreachable {
            address: address.to_owned(),
            source,
        };
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| unreachable(error.into()))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable(error.into()))?;
        // Its end shows as an error of the request under way, where it is reported.
        let connection = tokio::spawn(async move { drop(connection.await) });
        let mut api = Self {
            address: address.to_owned(),
            sender,
            connection,
            identifier: HeaderValue::from_static(""),
        };
        let body = match events {
            Events::All => r#"{"events":["INVOKE","SHUTDOWN"]}"#,
            Events::ShutdownOnly => r#"{"events":["SHUTDOWN"]}"#,
        };
        let response = api
            .call("/register", "POST", &[("lambda-extension-name", name)], body)
            .await?;
        api.identifier = response.headers().get(IDENTIFIER).cloned().ok_or(ApiError::Malformed {
            path: "/register",
            detail: format!("it has no {IDENTIFIER} header"),
        })?;
        Ok(api)
    }

    async fn report(&mut self, path: &'static str, error_type: &str, message: &str) -> Result<(), ApiError> {
        let body = serde_json::json!({"errorMessage": message, "errorType": error_type, "stackTrace": []});
        self.call(path, "POST", &[(ERROR_TYPE, error_type)], &body.to_string())
            .await
            .map(drop)
    }

    async fn call(
        &mut self,
        path: &'static str,
        method: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Response<Bytes>, ApiError> {
        let request = self.request(path, method, headers, body);
        let unreachable = |error: hyper::Error| ApiError::Unreachable {
            address: self.address.clone(),
            source: error.into(),
        };
        self.sender.ready().await.map_err(unreachable)?;
        let (parts, incoming) = self
            .sender
            .send_request(request)
            .await
            .map_err(unreachable)?
            .into_parts();
        let body = incoming.collect().await.map_err(unreachable)?.to_bytes();
        if parts.status.is_success() {
            return Ok(Response::from_parts(parts, body));
        }
        Err(ApiError::Refused {
            path,
            status: parts.status,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    fn request(&self, path: &str, method: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{API}{path}"))
            .header("host", &self.address)
            .header("content-type", "application/json");
        if !self.identifier.is_empty() {
            request = request.header(IDENTIFIER, &self.identifier);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
            .body(Full::from(body.to_owned()))
            .expect("BUG: the Extensions API's requests are well-formed")
    }
}

impl LambdaRuntime for ExtensionsApi {
    /// There is no time limit: Lambda freezes the environment meanwhile, for as long as it likes.
    async fn next(&mut self) -> Result<Event, ApiError> {
        let response = self.call("/event/next", "GET", &[], "").await?;
        serde_json::from_slice(response.body()).map_err(|error| ApiError::Malformed {
            path: "/event/next",
            detail: error.to_string(),
        })
    }

    async fn init_error(&mut self, error_type: &str, message: &str) -> Result<(), ApiError> {
        self.report("/init/error", error_type, message).await
    }
}

impl Drop for ExtensionsApi {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The events as <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html> shows them.
    #[test]
    fn events_are_read_as_documented() {
        let invoke = r#"{"eventType": "INVOKE", "deadlineMs": 676051, "requestId": "3da1f2dc-3222-475e-9205-e2e6c6318895",
            "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:ExtensionTest",
            "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2"}}"#;
        let expected = Event::Invoke { deadline_ms: 676_051 };
        assert_eq!(serde_json::from_str::<Event>(invoke).unwrap(), expected);
        let shutdown = r#"{"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": 676051}"#;
        let expected = Event::Shutdown {
            shutdown_reason: ShutdownReason::Spindown,
        };
        assert_eq!(serde_json::from_str::<Event>(shutdown).unwrap(), expected);
        let unknown = r#"{"eventType": "SHUTDOWN", "shutdownReason": "eclipse", "deadlineMs": 1}"#;
        let expected = Event::Shutdown {
            shutdown_reason: ShutdownReason::Unknown,
        };
        assert_eq!(serde_json::from_str::<Event>(unknown).unwrap(), expected);
    }
}
