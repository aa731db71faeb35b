//! The caller's HTTP proxy outside Lambda: on a laptop, in CI, beside a container. It signs with the credentials that the AWS
//! SDKs find.

mod args;
mod cached;

use std::process::ExitCode;

use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use caller::server::Server;
use clap::Parser;
use thiserror::Error;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
};

use crate::{args::Args, cached::Cached};

/// The exit code of a program whose arguments or settings cannot be used, as of clap's own.
const USAGE: u8 = 2;

/// Why the proxy does not serve.
#[derive(Debug, Error)]
enum Fatal {
    /// Nothing would be signed.
    #[error(
        "there are no AWS credentials to sign with: {0}; fix: log in (aws sso login), name a profile (--profile), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )]
    NoCredentials(String),
    /// Something else has the port.
    #[error("--listen {address} cannot be opened: {source}; fix: free the port, or give another one")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The system's signals cannot be heard.
    #[error("signals cannot be awaited: {0}")]
    Signals(#[from] std::io::Error),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let aws = loader(&args).load().await;
    let credentials = aws
        .credentials_provider()
        .map(Cached::new)
        .map(SharedCredentialsProvider::new);
    let region = aws.region().map(ToString::to_string);
    let config = lambda_env::start(
        |get| args.config(get, credentials.clone(), region),
        |config| config.debug,
    );
    match config {
        Ok(config) => lambda_env::finish(serve(config).await),
        Err(_) => ExitCode::from(USAGE),
    }
}

/// The SDKs' default chain, with what the arguments say of it.
fn loader(args: &Args) -> ConfigLoader {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(profile) = &args.profile {
        loader = loader.profile_name(profile);
    }
    match &args.region {
        Some(region) => loader.region(Region::new(region.clone())),
        None => loader,
    }
}

/// Serves until SIGINT or SIGTERM.
async fn serve(config: caller::config::Config) -> Result<(), Fatal> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    // Better now, at the terminal, than at the first request.
    let found = config.credentials.provide_credentials().await;
    found.map_err(|error| Fatal::NoCredentials(chain(&error)))?;
    let (address, called) = (config.listen, config.called().to_owned());
    let server = Server::bind(config).await;
    let server = server.map_err(|source| Fatal::Listen { address, source })?;
    let address = server.address()?;
    tracing::info!("listening on http://{address} for {called}: set HTTP_PROXY=http://{address}");
    select! {
        never = server.run() => match never {},
        _ = terminated.recv() => Ok(()),
        _ = interrupted.recv() => Ok(()),
    }
}

/// An error with all that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
