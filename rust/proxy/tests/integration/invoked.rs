//! What the extension learns of invocations, which Lambda does not tell it.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use proxy::config::InvokeMode;
use tokio::sync::Semaphore;

use crate::fakes::{FakeRuntimeApi, Turn, World, is_whole, unavailable};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn world() -> World {
    World::new(
        None,
        &[],
        &[Turn::Answer(OK), Turn::Answer(OK), Turn::Answer(OK)],
        |_| (),
    )
    .await
}

#[tokio::test]
async fn the_extension_is_told_of_invocations_once_a_second() {
    let world = world().await;
    world.get().await;
    world.get().await;
    assert_eq!(world.invoked.load(Relaxed), 1);
    world.clock.advance(Duration::from_secs(1));
    world.get().await;
    assert_eq!(world.invoked.load(Relaxed), 2);
}

#[tokio::test]
async fn while_there_is_no_tailnet_it_is_told_of_each() {
    let world = world().await;
    world.extension(|extension| extension.invoked = unavailable(None));
    world.get().await;
    world.get().await;
    assert_eq!(world.invoked.load(Relaxed), 2);
}

#[tokio::test]
async fn the_environment_stays_awake_until_the_extension_is_done_and_the_response_does_not_wait() {
    let world = world().await;
    let permits = Arc::new(Semaphore::new(0));
    world.extension(|extension| extension.invoked_permits = Arc::clone(&permits));
    let mut runtime_api = FakeRuntimeApi::start(&world, InvokeMode::Buffered, world.event(|_| ())).await;
    let posted = runtime_api.posted(is_whole).await;
    assert!(posted.contains("/the-id/response HTTP/1.1"), "{posted}");
    runtime_api.confirm().await;
    assert!(!runtime_api.ends_within(Duration::from_millis(100)).await);
    permits.add_permits(1);
    assert!(runtime_api.ends_within(Duration::from_secs(20)).await);
}
