//! Warm-ups: invocations that are nobody's request.

use std::time::{Duration, Instant, SystemTime};

use proxy::config::InvokeMode;
use proxy::warm_up::{Payload, WarmUp};
use serde_json::{Value, json};
use tailnet::protocol::{Request, Response};

use crate::fakes::{World, go, unavailable};

const HOLD: Duration = Duration::from_millis(300);

fn payload(ahead: Duration) -> Value {
    let warm_up = WarmUp::until(SystemTime::now() + ahead);
    serde_json::to_value(Payload { warm_up }).unwrap()
}

/// What the warmer hears, or why it does not.
async fn run(world: &World, payload: Value) -> Result<Value, String> {
    run_in(InvokeMode::Buffered, world, payload).await
}

async fn run_in(invoke_mode: InvokeMode, world: &World, payload: Value) -> Result<Value, String> {
    let posted = world.invoke(invoke_mode, payload).await;
    let body: Value = serde_json::from_str(posted.body()).unwrap();
    assert!(!posted.0.contains("response-mode"), "{posted:?}");
    if posted.line().ends_with("/the-id/response HTTP/1.1") {
        return Ok(body);
    }
    assert_eq!(body["errorType"], "InvalidRequest", "{posted:?}");
    Err(body["errorMessage"].as_str().unwrap().to_owned())
}

async fn world(route: Response) -> World {
    World::new(Some(route), &[], &[], |config| config.environment = "the-stream".into()).await
}

#[tokio::test]
async fn a_warm_up_keeps_the_environment_busy_and_the_tailnet_alive_and_dials_nothing() {
    let world = world(go(&[])).await;
    let began = Instant::now();
    let first = run(&world, payload(HOLD)).await.unwrap();
    // The wall clock counts whole milliseconds.
    assert!(
        began.elapsed() >= HOLD - Duration::from_millis(2),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(first, json!({"environment": "the-stream", "new": true}));
    assert!(matches!(
        world.asked.lock().unwrap()[..],
        [Request::KeepAlive { deadline_ms: 1.. }]
    ));
    assert_eq!(world.dials(), 0);

    let second = run(&world, payload(Duration::ZERO)).await.unwrap();
    assert_eq!(second["new"], false);
}

#[tokio::test]
async fn an_environment_that_has_served_a_request_is_not_new() {
    let world = world(unavailable(None)).await;
    world.get().await;
    assert_eq!(run(&world, payload(Duration::ZERO)).await.unwrap()["new"], false);
}

#[tokio::test]
async fn that_there_is_no_tailnet_is_told_and_is_no_failure() {
    let world = world(unavailable(None)).await;
    assert_eq!(
        run(&world, payload(Duration::ZERO)).await.unwrap()["trouble"],
        "AuthKeyRejected: no key"
    );
}

#[tokio::test]
async fn a_time_too_far_ahead_is_refused_at_once() {
    let world = world(go(&[])).await;
    let message = run(&world, payload(Duration::from_secs(60))).await.unwrap_err();
    assert!(message.starts_with("warmUp.until is "), "{message}");
    assert!(world.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn in_stream_mode_a_warm_up_is_answered_in_one_piece() {
    let world = world(go(&[])).await;
    let stream = InvokeMode::ResponseStream;
    let warm = run_in(stream, &world, payload(Duration::ZERO)).await.unwrap();
    assert_eq!(warm, json!({"environment": "the-stream", "new": true}));
    let message = run_in(stream, &world, payload(Duration::from_secs(60)))
        .await
        .unwrap_err();
    assert!(message.starts_with("warmUp.until is "), "{message}");
}
