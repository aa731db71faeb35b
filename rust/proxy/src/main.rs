//! The Lambda handler that forwards requests into a tailnet; or, by its environment, the warmer of one.

use std::{process::ExitCode, sync::Arc, time::Duration};

use proxy::{
    client_certificate::ClientCertificate, config::Config, handler::Handler, runtime_api::RuntimeApi, service::Service,
    warmer,
};
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
};

/// musl's own allocator asks the kernel for each body of more than 128 KB, which doubles what it costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is left for the last metrics of the 300 ms between SIGTERM and SIGKILL.
const LAST_METRICS: Duration = Duration::from_millis(250);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if std::env::var_os(warmer::FUNCTION).is_some() {
        return warmer::main().await;
    }
    let Ok(mut config) = lambda_env::start(|get| Config::parse(get), |config| config.debug) else {
        return ExitCode::FAILURE;
    };
    // Within INIT, like all other settings: what is wrong with it shows before the first request.
    if let Some(secret) = &config.client_certificate_secret {
        match ClientCertificate::read(&config.secrets, secret).await {
            Ok(certificate) => config.client_certificate = Some(Arc::new(certificate)),
            Err(error) => return lambda_env::finish(Err(error)),
        }
    }
    lambda_env::finish(run(config).await)
}

/// Serves invocations until the environment ends, or the Runtime API.
async fn run(config: Config) -> Result<(), String> {
    let mut terminated =
        signal(SignalKind::terminate()).map_err(|error| format!("SIGTERM cannot be handled: {error}"))?;
    let (invoke_mode, runtime_api) = (config.invoke_mode, RuntimeApi::new(&config.runtime_api));
    let handler = Arc::new(Handler::new(config));
    let metrics = Arc::clone(handler.metrics());
    // A task: each time that another one wakes it, the runtime need not look for events first, as for its main future.
    let service = tokio::spawn(Service::new(handler, invoke_mode, runtime_api).run());
    select! {
        ended = service => Err(match ended {
            Ok(Err(error)) => format!("the Runtime API is lost: {error}"),
            Err(panic) => format!("BUG: {panic}"),
        }),
        _ = terminated.recv() => {
            metrics.flush_all(LAST_METRICS).await;
            Ok(())
        }
    }
}
