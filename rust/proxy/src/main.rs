//! The Lambda handler that forwards requests into a tailnet; or, by its environment, the warmer of one.

use std::{process::ExitCode, sync::Arc};

use lambda_http::lambda_runtime::{Error, LambdaEvent, Runtime, run, service_fn, tower::layer::layer_fn};
use proxy::{
    config::{Config, InvokeMode},
    handler::Handler,
    invocation::Invocation,
    outcome::Outcome,
    stream::Streamer,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if std::env::var_os(warmer::FUNCTION).is_some() {
        return warmer::main().await;
    }
    let Ok(config) = settings::start(|get| Config::parse(get), |config| config.debug) else {
        return ExitCode::FAILURE;
    };
    let invoke_mode = config.invoke_mode;
    let handler = Handler::new(config);
    let ended = match invoke_mode {
        InvokeMode::Buffered => buffered(handler).await,
        InvokeMode::ResponseStream => streamed(handler).await,
    };
    settings::finish(ended.map_err(|error| format!("the Runtime API is lost: {error}")))
}

async fn buffered(handler: Handler) -> Result<(), Error> {
    let handler = &handler;
    run(service_fn(|event: LambdaEvent<Invocation>| {
        Outcome::of(handler, event.payload, event.context.deadline)
    }))
    .await
}

async fn streamed(handler: Handler) -> Result<(), Error> {
    let runtime_api = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap_or_default();
    let streamer = Streamer::new(Arc::new(handler), &runtime_api);
    // The layer takes every invocation; the service beneath it is never reached.
    let beneath =
        service_fn(|_: LambdaEvent<Invocation>| async { Err::<(), _>(Error::from("BUG: the streamer was passed by")) });
    Runtime::new(beneath)
        .layer(layer_fn(move |_| streamer.clone()))
        .run()
        .await
}
