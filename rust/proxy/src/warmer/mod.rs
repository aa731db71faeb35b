//! Invokes the proxy several times at once, on a schedule, so that so many of its environments stay warm.
//!
//! It ships in the proxy's own executable: nearly all of its size is what the two share. [`FUNCTION`] in the
//! environment makes the executable the warmer.

pub mod config;
mod invoke;
mod round;

use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, run, service_fn};
use serde::de::IgnoredAny;

pub use config::{Config, FUNCTION};
pub use invoke::Invoker;
pub use round::{Round, WarmUpFailed, round};

/// Runs the warmer until Lambda ends it. What it is invoked with does not matter: it is the schedule's event.
pub async fn main() -> ExitCode {
    let Ok(config) = lambda_env::start(|get| Config::parse(get), |config| config.debug) else {
        return ExitCode::FAILURE;
    };
    let (invoker, invocations) = (Invoker::new(&config), config.invocations);
    let invoker = &invoker;
    let handler = service_fn(|_: LambdaEvent<IgnoredAny>| async move { round(invoker, invocations).await.report() });
    lambda_env::finish(
        run(handler)
            .await
            .map_err(|error| format!("the Runtime API is lost: {error}")),
    )
}
