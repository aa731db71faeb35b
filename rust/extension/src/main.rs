//! The Lambda extension that brings its environment into a tailnet.

use std::process::ExitCode;

use extension::{
    auth::keys::Keys,
    config::Config,
    lifecycle::{refuse, run},
    tailscaled::process::Paths,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match lambda_env::start(|get| Config::parse(get), |config| config.debug) {
        Ok(config) => {
            let keys = Keys::new(config.credential.clone(), &config.advertise_tags);
            let program = Paths::with_socks(config.socks, config.own_ports(), config.tailscaled_share);
            lambda_env::finish(run(&config, program, keys, tailnet::protocol::SOCKET).await)
        }
        Err(error) => {
            if let Ok(runtime_api) = std::env::var("AWS_LAMBDA_RUNTIME_API")
                && let Err(error) = refuse(&runtime_api, &error).await
            {
                tracing::error!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}
