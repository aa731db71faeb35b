//! From registration to SHUTDOWN: what Lambda asks of an extension, in order.

use std::{fmt::Display, io, net::SocketAddr};

use lambda_env::extensions_api::{ApiError, Event, Events, ExtensionsApi, LambdaRuntime};
use thiserror::Error;
use tokio::select;

use crate::{config::Config, server::Server};

/// The name of the extension's file in `/opt/extensions`.
const NAME: &str = "tailscale-caller";

/// What ends the extension before its time.
#[derive(Debug, Error)]
pub enum Fatal {
    /// The Extensions API failed: Lambda will renew the environment.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Something else of the function's listens there.
    #[error("the caller's proxy cannot listen at {address}: {source}; free the port")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// Serves the function until its environment ends. It asks for no invocation's event: so none of them waits for it.
pub async fn run(config: Config) -> Result<(), Fatal> {
    let mut lambda = ExtensionsApi::register(&config.runtime_api, NAME, Events::ShutdownOnly).await?;
    let address = config.listen;
    let server = match Server::bind(config).await {
        Ok(server) => server,
        Err(source) => {
            let fatal = Fatal::Listen { address, source };
            lambda.init_error("Extension.PortInUse", &fatal.to_string()).await?;
            return Err(fatal);
        }
    };
    select! {
        never = server.run() => match never {},
        ended = ended(&mut lambda) => ended.map_err(Fatal::from),
    }
}

/// Tells Lambda that the extension cannot start.
pub async fn refuse(runtime_api: &str, error_type: &str, error: &impl Display) -> Result<(), ApiError> {
    let mut lambda = ExtensionsApi::register(runtime_api, NAME, Events::ShutdownOnly).await?;
    lambda.init_error(error_type, &error.to_string()).await
}

async fn ended(lambda: &mut ExtensionsApi) -> Result<(), ApiError> {
    loop {
        if let Event::Shutdown { .. } = lambda.next().await? {
            return Ok(());
        }
    }
}
