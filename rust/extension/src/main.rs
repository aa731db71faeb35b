//! The Lambda extension that brings its environment into a tailnet.

use std::process::ExitCode;

use extension::{
    config::Config,
    lifecycle::{refuse, run},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match settings::start(|get| Config::parse(get), |config| config.debug) {
        Ok(config) => settings::finish(run(config).await),
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
