//! The Lambda handler that forwards requests into a tailnet; or, by its environment, the warmer of one.

use std::{process::ExitCode, sync::Arc, time::Duration};

use lambda_http::lambda_runtime::{
    Error, LambdaEvent, Runtime, layers::TracingLayer, service_fn, tower::layer::layer_fn,
};
use proxy::{
    after_answer::AfterAnswer,
    config::{Config, InvokeMode},
    handler::Handler,
    invocation::Invocation,
    metrics::Metrics,
    outcome::Outcome,
    stream::Streamer,
};
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
};

/// What is left for the last metrics of the 300 ms between SIGTERM and SIGKILL.
const LAST_METRICS: Duration = Duration::from_millis(250);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if std::env::var_os(warmer::FUNCTION).is_some() {
        return warmer::main().await;
    }
    let Ok(config) = settings::start(|get| Config::parse(get), |config| config.debug) else {
        return ExitCode::FAILURE;
    };
    settings::finish(run(config).await)
}

/// Answers invocations until the environment ends, or the Runtime API.
async fn run(config: Config) -> Result<(), String> {
    let mut terminated =
        signal(SignalKind::terminate()).map_err(|error| format!("SIGTERM cannot be heard: {error}"))?;
    let invoke_mode = config.invoke_mode;
    let handler = Arc::new(Handler::new(config));
    let metrics = Arc::clone(handler.metrics());
    let answering = async {
        match invoke_mode {
            InvokeMode::Buffered => buffered(handler).await,
            InvokeMode::ResponseStream => streamed(handler).await,
        }
    };
    select! {
        ended = answering => ended.map_err(|error| format!("the Runtime API is lost: {error}")),
        _ = terminated.recv() => {
            metrics.at_the_end(LAST_METRICS).await;
            Ok(())
        }
    }
}

async fn buffered(handler: Arc<Handler>) -> Result<(), Error> {
    let metrics = Arc::clone(handler.metrics());
    let answer = service_fn(move |event: LambdaEvent<Invocation>| {
        let handler = Arc::clone(&handler);
        async move { Outcome::of(&handler, event.payload, &event.context).await }
    });
    Runtime::new(answer)
        .layer(TracingLayer::new())
        .layer(layer_fn(|inner| AfterAnswer::new(inner, Arc::clone(&metrics))))
        .run()
        .await
}

async fn streamed(handler: Arc<Handler>) -> Result<(), Error> {
    let runtime_api = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap_or_default();
    let metrics: Arc<Metrics> = Arc::clone(handler.metrics());
    let streamer = Streamer::new(handler, &runtime_api);
    // The layer takes every invocation; the service beneath it is never reached.
    let beneath =
        service_fn(|_: LambdaEvent<Invocation>| async { Err::<(), _>(Error::from("BUG: the streamer was passed by")) });
    Runtime::new(beneath)
        .layer(layer_fn(move |_| streamer.clone()))
        .layer(layer_fn(|inner| AfterAnswer::new(inner, Arc::clone(&metrics))))
        .run()
        .await
}
