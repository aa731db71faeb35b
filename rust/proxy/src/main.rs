//! The Lambda handler that forwards requests into a tailnet.

use std::process::ExitCode;

use lambda_http::lambda_runtime::{Error, LambdaEvent, run, service_fn};
use proxy::{config::Config, event::Event, handler::Handler};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let get = |name: &str| std::env::var(name).ok();
    let config = match Config::parse(get) {
        Ok(config) => config,
        Err(error) => {
            logging::init(false, get);
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    logging::init(config.debug, get);
    let handler = &Handler::new(config);
    let service = service_fn(|event: LambdaEvent<Event>| async move {
        Ok::<_, Error>(handler.answer(event.payload, event.context.deadline).await)
    });
    match run(service).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the Runtime API is lost: {error}");
            ExitCode::FAILURE
        }
    }
}
