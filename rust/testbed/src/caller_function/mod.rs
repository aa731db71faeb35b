//! A caller's function with the layer that ships, in a Lambda host of its own: environments with a network of their own, INIT
//! and freezes.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::Response;
use serde_json::json;

use crate::{
    Error,
    binaries::Binaries,
    error::failed,
    function_url::FunctionUrl,
    lambda::{Function, LocalLambda, function_arn},
    network::ADDRESS,
    package::write_zip,
};

/// The function's code.
const BOOTSTRAP: &str = include_str!("bootstrap.py");
/// What `addCaller` sets for HTTP clients.
const CLIENTS: [(&str, &str); 4] = [
    ("HTTP_PROXY", LAYER_URL),
    ("http_proxy", LAYER_URL),
    ("NO_PROXY", NO_PROXY),
    ("no_proxy", NO_PROXY),
];
const LAYER_URL: &str = "http://localhost:8055";
const NO_PROXY: &str = "localhost,127.0.0.1,::1,169.254.100.1,169.254.169.254,169.254.170.2";
/// SHUTDOWN allows its environments 2.3 s.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// How the layer calls the proxy: by its Function URL, or by Lambda's Invoke API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// `CallerVia.FUNCTION_URL`.
    FunctionUrl,
    /// `CallerVia.INVOKE`.
    Invoke,
}

/// The running function.
#[derive(Debug)]
pub struct CallerFunction {
    /// Its Lambda host.
    pub lambda: LocalLambda,
    url: FunctionUrl,
}

impl CallerFunction {
    /// Starts a function that requests `ask` each time it is called. The layer calls the proxy at `proxy`, which must be an
    /// address that [environments reach](reachable), with the credentials of `role`.
    pub async fn start(
        binaries: &Binaries,
        run_dir: &Path,
        role: &Credentials,
        (via, proxy): (Via, SocketAddr),
        ask: &str,
    ) -> Result<Self, Error> {
        let handler = run_dir.join("caller.zip");
        write_zip(&handler, [Ok(("bootstrap".to_owned(), BOOTSTRAP.into()))])
            .map_err(failed("the caller's function cannot be written"))?;
        let role_fields = json!({"accessKeyId": role.access_key_id(), "secretAccessKey": role.secret_access_key()});
        let settings = [
            ("functionName", json!("billing")),
            ("handlerZip", json!(handler)),
            ("layerZips", json!([binaries.caller_zip])),
            ("executionRole", role_fields),
        ];
        let mut environment = BTreeMap::from(CLIENTS.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut put = |name: &str, value: String| environment.insert(name.to_owned(), value);
        put("ASK", ask.to_owned());
        match via {
            Via::FunctionUrl => put("TS_PROXY_URL", format!("http://{proxy}/")),
            Via::Invoke => {
                put("TS_PROXY_FUNCTION", function_arn(""));
                put("AWS_ENDPOINT_URL_LAMBDA", format!("http://{proxy}"))
            }
        };
        let function = Function {
            environment,
            callers: vec![role.clone()],
            settings: settings.map(|(name, value)| (name.to_owned(), value)).into(),
        };
        let lambda = LocalLambda::start(binaries, &function, run_dir, None).await?;
        let url = FunctionUrl {
            address: lambda.address().to_owned(),
            caller: role.clone(),
        };
        Ok(Self { lambda, url })
    }

    /// Calls it, and returns what it answers: status, body and `ts-error-` headers of what its own request got.
    pub async fn call(&self) -> Result<Response<Bytes>, Error> {
        let request = self.url.request("GET", "/").body(Bytes::new())?;
        self.url.send(request).await
    }

    /// Ends it.
    pub async fn stop(self) {
        self.lambda.process.stop(STOP_LIMIT).await;
    }
}

/// An address of this machine that environments reach; the port is free.
pub fn reachable() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(ADDRESS), 0)
}
