//! Requests into the tailnet.

use std::time::SystemTime;

use aws_credential_types::provider::ProvideCredentials;
use http::{Request, Response};
use hyper::body::Incoming;
use tailnet::host::Host;

use crate::{
    body::Body,
    config::Config,
    error::CallError,
    request,
    response::{self, Call},
    signature::sign,
    upstream::Upstream,
};

const PERMISSIONS: &str = "lambda:InvokeFunctionUrl and lambda:InvokeFunction";

/// The way into the tailnet: signs requests, and sends them to the proxy's Function URL.
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
        let credentials = self.config.credentials.provide_credentials().await;
        let credentials = credentials.map_err(|error| {
            CallError::CallerNotAllowed(format!("there are no AWS credentials to sign with: {error}"))
        })?;
        let request = sign(request, &self.config.region, &credentials, SystemTime::now())
            .map_err(|error| CallError::InvalidRequest(format!("the request cannot be signed: {error}")))?;
        let response = self.upstream.send(request).await?;
        let call = Call {
            function: &self.config.function,
            called: &self.config.endpoint.host,
            permissions: PERMISSIONS,
        };
        response::restore(response, &method, &call).await
    }
}
