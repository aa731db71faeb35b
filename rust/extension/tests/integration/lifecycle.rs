//! The life of an environment: a tailscaled that dies, starts slowly or crashes again and again.

use std::time::Duration;

use extension::{error::JoinError, lifecycle::Fatal, supervisor::state::TailnetState};
use lambda_env::extensions_api::Events;
use tokio::time::{Instant, sleep};

use crate::{
    fake_http::FakeHttp,
    fake_keys::FakeKeys,
    fake_tailscaled::{FakeTailscaled, Login, PEER, Peer, Plan},
    stage::{Ending, INIT_LIMIT, LATE, LIMIT, Stage, config, config_with, ms, secs, unique_path},
};

async fn failed(stage: &Stage) -> String {
    let state = stage.settled().await;
    let TailnetState::Unavailable(JoinError::TailscaledFailed { reason }) = state else {
        panic!("{state:?}")
    };
    reason
}

#[tokio::test(start_paused = true)]
async fn an_environment_is_ready_when_it_is_in_the_tailnet_and_a_peer_has_answered() {
    let stage = Stage::new(Plan::default());
    // tailscaled takes 20 ms, and the greeting a few round trips.
    let ready = stage.ready().await;
    assert!((ms(30)..ms(60)).contains(&ready), "{ready:?}");
    assert_eq!(stage.available(secs(0)).await, Ok(()));
    assert_eq!(stage.end(Ending::Shutdown).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_off_holds_up_init_no_longer_than_the_login_took() {
    let plan = Plan {
        login_takes: ms(600),
        ..Plan::with_peers([Peer::new("off", PEER).silent()])
    };
    let stage = Stage::new(plan);
    assert_eq!(stage.ready().await, ms(20 + 600 + 600));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_tailscaled_that_dies_is_started_again_at_once_and_requests_wait_for_it() {
    let stage = Stage::new(Plan::default());
    stage.ready().await;
    let died = Instant::now();
    stage.tailscaled.die();
    // One turn: the news travels.
    sleep(ms(1)).await;
    assert_eq!(stage.available(LIMIT).await, Ok(()));
    // A pause of 50 ms, and the 20 ms that tailscaled takes.
    assert_eq!(died.elapsed(), ms(70));
    assert_eq!(stage.tailscaled.starts().len(), 2);
    assert_eq!(stage.end(Ending::Shutdown).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_tailscaled_holds_up_init_no_longer_than_it_may() {
    let plan = |listens_after| Plan {
        listens_after,
        ..Plan::default()
    };
    let slow = Stage::new(plan(Some(ms(3000))));
    let ready = slow.ready().await;
    assert!((ms(3010)..ms(3060)).contains(&ready), "{ready:?}");
    assert_eq!(slow.available(secs(0)).await, Ok(()));
    slow.end(Ending::Shutdown).await;

    let stuck = Stage::new(plan(None));
    assert_eq!(stuck.ready().await, INIT_LIMIT);
    let reason = failed(&stuck).await;
    assert!(reason.contains("LocalAPI did not respond within 5 s"), "{reason}");
    stuck.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_reported_and_slows_down_but_never_ends() {
    let life = ms(10);
    let plan = Plan {
        lives_for: Some(life),
        ..Plan::default()
    };
    let stage = Stage::new(plan);
    // Three short lives, and the pauses of 50 and 100 ms between them.
    assert_eq!(stage.ready().await, ms(180));
    let reason = failed(&stage).await;
    assert!(reason.contains("exit code 1"), "{reason}");
    sleep(secs(600)).await;
    let starts = stage.tailscaled.starts();
    let pauses: Vec<Duration> = starts.windows(2).map(|pair| pair[1] - pair[0] - life).collect();
    let expected = [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000].map(ms);
    assert_eq!(pauses[..10], expected);
    assert!(pauses[10..].iter().all(|pause| *pause == ms(10_000)), "{pauses:?}");
    assert!(pauses.len() > 60, "{pauses:?}");
    // It recovers, and the next failure counts as the first one again.
    stage.tailscaled.plan(|plan| plan.lives_for = None);
    sleep(secs(80)).await;
    assert_eq!(stage.available(secs(0)).await, Ok(()));
    let lives = stage.tailscaled.starts().len();
    stage.tailscaled.die();
    sleep(ms(51)).await;
    assert_eq!(stage.tailscaled.starts().len(), lives + 1);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_function_that_requires_the_tailnet_is_not_started_without_it() {
    let config = config_with(&[("TS_REQUIRE_TAILNET", "true")]);
    let stage = Stage::with_config(&config, Plan::default(), FakeKeys::Missing);
    let (end, errors) = stage.ended().await;
    assert!(matches!(end, Err(Fatal::NoTailnet(_))), "{end:?}");
    assert_eq!(
        errors,
        ["Extension.TailnetUnavailable: NoAuthKey: the secret has no auth key"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_invocation_triggers_another_login_and_holds_up_the_environment_no_longer_than_it_may() {
    let stage = Stage::new(Plan {
        login: Login::Silent,
        ..Plan::default()
    });
    // The control server is silent for 7 s, then requests are told.
    assert_eq!(stage.ready().await, ms(7020));
    assert_eq!(stage.available(secs(0)).await, Err("ControlSilent"));
    stage.invoke(LATE);
    assert!(stage.ready().await <= ms(7020 + 2000));
    // The function's own time is up sooner.
    let before = stage.began.elapsed();
    stage.invoke(0);
    assert_eq!(stage.ready().await, before);
    stage.tailscaled.join();
    sleep(ms(1)).await;
    assert_eq!(stage.available(secs(0)).await, Ok(()));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_tailscaled_whose_localapi_ends_before_the_process_is_reported_by_its_exit() {
    let stage = Stage::new(Plan::default());
    stage.ready().await;
    stage.tailscaled.close_local_api();
    sleep(ms(10)).await;
    stage.tailscaled.die();
    // One turn: the news travels.
    sleep(ms(1)).await;
    let unavailable = stage.tailnet.state().unavailable().unwrap();
    assert!(
        unavailable.message.contains("tailscaled ended with exit code 1"),
        "{unavailable}"
    );
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn on_managed_instances_it_registers_for_shutdown_alone_and_ends_at_it() {
    let lambda = FakeHttp::new(|request| match request.line.as_str() {
        "GET /2020-01-01/extension/event/next" => Some((
            200,
            r#"{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":1}"#.into(),
        )),
        _ => Some((200, "{}".into())),
    });
    let mut config = config();
    config.runtime_api = lambda.on_loopback().await;
    config.events = Events::ShutdownOnly;
    config.doors.server = None;
    let tailscaled = FakeTailscaled::new(Plan::default());
    let socket = unique_path("managed");
    extension::lifecycle::run(&config, tailscaled.clone(), FakeKeys::Good, &socket)
        .await
        .unwrap();
    std::fs::remove_file(socket).unwrap();
    assert_eq!(lambda.received()[0].body, r#"{"events":["SHUTDOWN"]}"#);
    assert_eq!((tailscaled.counts().log_outs, tailscaled.is_running()), (1, false));
}
