//! Requests into the tailnet.

use std::time::SystemTime;

use aws_credential_types::provider::ProvideCredentials;
use http::{Request, Response};
use hyper::body::Incoming;
use tailnet::{host::Host, intermediary::is_idempotent};

use crate::{
    body::Body,
    config::{Config, Via},
    error::{CallError, no_credentials},
    invoke, request,
    response::{self, Call},
    signature::sign,
    upstream::Upstream,
};

/// The way into the tailnet: signs requests, and sends them to the proxy's Function URL or to Lambda's API.
pub(crate) struct Signed {
    config: Config,
    upstream: Upstream,
}

impl Signed {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            upstream: Upstream::new(config.endpoint.clone()),
            config,
        }
    }

    /// Whether a request for `host` and `port` goes into the tailnet.
    pub(crate) fn is_for(&self, host: &Host, port: u16) -> bool {
        self.config.targets.holds(host, port)
    }

    /// Sends a request in absolute form to the target that it names.
    pub(crate) async fn send(
        &self,
        request: Request<Incoming>,
        host: &Host,
        port: u16,
    ) -> Result<Response<Body>, CallError> {
        let method = request.method().clone();
        let request = request::rewrite(request, host, port, &self.config).await?;
        let request = match &self.config.via {
            Via::FunctionUrl => request,
            Via::Invoke { function } => invoke::request(request, function)?,
        };
        let credentials = self.config.credentials.provide_credentials().await;
        let credentials = credentials.map_err(|error| CallError::CallerNotAllowed(no_credentials(&error)))?;
        let request = sign(request, &self.config.region, &credentials, SystemTime::now())
            .map_err(|error| CallError::InvalidRequest(format!("the request cannot be signed: {error}")))?;
        let response = self.upstream.send(request, is_idempotent(&method)).await?;
        let call = self.call();
        match &self.config.via {
            Via::FunctionUrl => response::restore(response, &method, &call).await,
            Via::Invoke { .. } => invoke::response(response, &method, &call).await,
        }
    }

    fn call(&self) -> Call<'_> {
        let function = &self.config.function;
        let called = self.config.called();
        match &self.config.via {
            Via::FunctionUrl => Call {
                function,
                called,
                permissions: "lambda:InvokeFunctionUrl and lambda:InvokeFunction",
                grant: "proxy.addCaller(fn) or proxy.grantInvokeUrl(role)",
            },
            Via::Invoke { .. } => Call {
                function,
                called,
                permissions: "lambda:InvokeFunction",
                grant: "proxy.addCaller(fn, { via: CallerVia.INVOKE }) or proxy.grantInvoke(role)",
            },
        }
    }
}
