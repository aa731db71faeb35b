//! The Lambda extension that signs what its function sends into a tailnet.

use std::process::ExitCode;

use caller::{
    config::Config,
    lifecycle::{refuse, run},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match lambda_env::start(|get| Config::parse(get), |config| config.debug) {
        Ok(config) => lambda_env::finish(run(config).await),
        Err(error) => {
            if let Ok(runtime_api) = std::env::var("AWS_LAMBDA_RUNTIME_API")
                && let Err(error) = refuse(&runtime_api, "Extension.InvalidConfiguration", &error).await
            {
                tracing::error!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}
