//! The Lambda extension that brings its environment into a tailnet.

use std::process::ExitCode;

use extension::{
    config::Config,
    lifecycle::{refuse, run},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let get = |name: &str| std::env::var(name).ok();
    let config = match Config::parse(get) {
        Ok(config) => config,
        Err(error) => {
            logging::init(false, get);
            tracing::error!("{error}");
            if let Some(runtime_api) = get("AWS_LAMBDA_RUNTIME_API")
                && let Err(error) = refuse(&runtime_api, &error).await
            {
                tracing::error!("{error}");
            }
            return ExitCode::FAILURE;
        }
    };
    logging::init(config.debug, get);
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
