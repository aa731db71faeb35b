//! The caller's HTTP proxy outside Lambda: on a laptop, in CI, beside a container. It signs with the credentials that the AWS
//! SDKs find.

mod args;
mod credentials;

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use caller::{config::Config, error::no_credentials, server::Server};
use clap::Parser;
use lambda_env::SettingError;
use thiserror::Error;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
};

use crate::{
    args::Args,
    credentials::{Chain, Kept},
};

/// How long requests may take that are open at the end: less than Docker and ECS wait before they kill.
const END_LIMIT: Duration = Duration::from_secs(5);
/// The exit code of a program whose arguments cannot be used, as of clap's own.
const USAGE: u8 = 2;

/// Why the proxy does not serve. The messages are for the user at the terminal.
#[derive(Debug, Error)]
enum Fatal {
    /// An option or a variable must change.
    #[error(transparent)]
    Usage(#[from] SettingError),
    /// Nothing could be signed.
    #[error("{0}")]
    NoCredentials(String),
    /// Something else has the port, or the address is not this machine's.
    #[error(
        "--listen (TS_PROXY_LISTEN) is '{address}', where the proxy cannot listen: {source}; free the port, or give another one"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no signals, or does not know the port's address.
    #[error("the system refuses what the proxy needs: {0}")]
    System(#[from] io::Error),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, Fatal::Usage(_)) { USAGE } else { 1 })
        }
    }
}

/// Serves until SIGINT or SIGTERM.
async fn run(args: &Args) -> Result<(), Fatal> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let config = config(args).await?;
    lambda_env::log_to_stderr(config.debug);
    // Better now, at the terminal, than at the first request.
    let found = config.credentials.provide_credentials().await;
    found.map_err(|error| Fatal::NoCredentials(no_credentials(&error)))?;
    let (address, called) = (config.listen, config.called().to_owned());
    let server = Server::bind(config).await;
    let server = server.map_err(|source| Fatal::Listen { address, source })?;
    say(&format!(
        "listening on http://{}; requests for the tailnet go to {called}",
        server.address()?
    ));
    select! {
        never = server.run() => match never {},
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    server.end(END_LIMIT).await;
    Ok(())
}

async fn config(args: &Args) -> Result<Config, SettingError> {
    let mut chain = Chain {
        profile: args.profile.clone(),
        region: args.region.clone(),
    };
    let region = chain.load().await.region().map(ToString::to_string);
    // Looked for once: the last place to look is the service of a cloud machine, which others wait for in vain.
    chain.region.clone_from(&region);
    let credentials = SharedCredentialsProvider::new(Kept::new(chain));
    args.config(lambda_env::environment, credentials, region)
}

/// The one line on standard output. A pipe that nobody reads is no reason to end.
fn say(line: &str) {
    let mut output = io::stdout();
    drop(writeln!(output, "{line}").and_then(|()| output.flush()));
}
