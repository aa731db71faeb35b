//! The life of an environment, by a clock that stands still: a daemon that dies, starts slowly or crashes again and
//! again.

use std::time::Duration;

use extension::{extensions_api::Events, lifecycle::Fatal, phase::Phase, trouble::Trouble};
use tokio::time::{Instant, sleep};

use crate::{
    fake_daemon::{FakeDaemon, Plan, RUNNING},
    fake_http::Fake,
    stage::{Ending, FakeKeys, INIT_LIMIT, LATE, LIMIT, Stage, config, ms},
};

#[tokio::test(start_paused = true)]
async fn an_environment_is_ready_when_it_is_in_the_tailnet() {
    let mut stage = Stage::new("ready", Plan::default(), FakeKeys::Good, true);
    assert_eq!(stage.asks().await, ms(20));
    assert!(matches!(stage.settled().await, Phase::Up { .. }));
    assert_eq!(stage.end(Ending::Shutdown).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_dies_is_started_again_at_once_and_requests_wait_for_it() {
    let mut stage = Stage::new("dies", Plan::default(), FakeKeys::Good, false);
    stage.asks().await;
    let died = Instant::now();
    stage.daemon.die();
    // One turn: the news travels.
    sleep(ms(1)).await;
    stage.tailnet.ready(LIMIT).await.unwrap();
    // A pause of 50 ms, and the 20 ms that the daemon takes.
    assert_eq!(died.elapsed(), ms(70));
    assert_eq!(stage.daemon.starts().len(), 2);
    assert_eq!(stage.end(Ending::Shutdown).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_daemon_holds_up_init_no_longer_than_it_may() {
    let plan = |opens_after| Plan {
        opens_after,
        ..Plan::default()
    };
    let mut slow = Stage::new("slow", plan(Some(ms(3000))), FakeKeys::Good, false);
    assert_eq!(slow.asks().await, ms(3000));
    assert!(matches!(slow.settled().await, Phase::Up { .. }));
    slow.end(Ending::Shutdown).await;

    let mut stuck = Stage::new("stuck", plan(None), FakeKeys::Good, false);
    assert_eq!(stuck.asks().await, INIT_LIMIT);
    let Phase::Down(Trouble::Daemon { words }) = stuck.settled().await else {
        panic!("{:?}", stuck.settled().await)
    };
    assert!(words.contains("LocalAPI did not answer within 5 s"), "{words}");
    stuck.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_told_and_slows_down_but_never_ends() {
    let life = ms(10);
    let plan = Plan {
        lives_for: Some(life),
        ..Plan::default()
    };
    let mut stage = Stage::new("loop", plan, FakeKeys::Good, false);
    // Three short lives, and the pauses of 50 and 100 ms between them.
    assert_eq!(stage.asks().await, ms(180));
    let Phase::Down(Trouble::Daemon { words }) = stage.settled().await else {
        panic!("{:?}", stage.settled().await)
    };
    assert!(
        words.contains("exit code 1") && words.contains("started again"),
        "{words}"
    );
    sleep(Duration::from_secs(600)).await;
    let starts = stage.daemon.starts();
    let pauses: Vec<Duration> = starts.windows(2).map(|pair| pair[1] - pair[0] - life).collect();
    let expected = [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000].map(ms);
    assert_eq!(pauses[..10], expected);
    assert!(pauses[10..].iter().all(|pause| *pause == ms(10_000)), "{pauses:?}");
    assert!(pauses.len() > 60, "{pauses:?}");
    // It mends itself, and the next trouble is the first one again.
    stage.daemon.plan(|plan| plan.lives_for = None);
    sleep(Duration::from_secs(80)).await;
    assert!(matches!(stage.settled().await, Phase::Up { .. }));
    let lives = stage.daemon.starts().len();
    stage.daemon.die();
    sleep(ms(51)).await;
    assert_eq!(stage.daemon.starts().len(), lives + 1);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_function_that_requires_the_tailnet_is_not_started_without_it() {
    let stage = Stage::new("required", Plan::default(), FakeKeys::Missing, true);
    let (end, told) = stage.ended().await;
    assert!(matches!(end, Err(Fatal::NoTailnet(_))), "{end:?}");
    assert_eq!(told, ["Extension.TailnetUnavailable: the secret brings no auth key"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_brings_about_another_login_and_holds_the_environment_up_no_longer_than_it_may() {
    let plan = Plan {
        login: None,
        ..Plan::default()
    };
    let mut stage = Stage::new("another", plan, FakeKeys::Good, false);
    // The control server is silent for 7 s, then requests are told so.
    assert_eq!(stage.asks().await, ms(7020));
    assert!(matches!(
        stage.settled().await,
        Phase::Down(Trouble::ControlSilent { .. })
    ));
    stage.invoke(LATE);
    assert!(stage.asks().await <= ms(7020 + 4000));
    // The function's own time is up sooner.
    let before = stage.began.elapsed();
    stage.invoke(0);
    assert_eq!(stage.asks().await, before);
    // Control speaks at last.
    stage.daemon.say(RUNNING);
    sleep(ms(1)).await;
    assert!(matches!(stage.settled().await, Phase::Up { .. }));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_whose_localapi_breaks_off_before_it_ends_is_told_by_its_end() {
    let mut stage = Stage::new("breaks-off", Plan::default(), FakeKeys::Good, false);
    stage.asks().await;
    stage.daemon.break_off();
    sleep(ms(10)).await;
    stage.daemon.die();
    // One turn: the news travels.
    sleep(ms(1)).await;
    let why = stage.tailnet.ready(ms(0)).await.unwrap_err();
    assert_eq!(
        why,
        "tailscaled ended with exit code 1; tailscaled is being started again"
    );
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_registrations_is_told_while_it_is_waited_for() {
    let plan = Plan {
        login: Some(r#"{"ErrMessage":"node registration rate limited; will retry after 20s"}"#),
        ..Plan::default()
    };
    let mut stage = Stage::new("limited", plan, FakeKeys::Good, false);
    assert_eq!(stage.asks().await, INIT_LIMIT);
    let why = stage.tailnet.ready(ms(100)).await.unwrap_err();
    assert!(
        why.starts_with("the tailnet limits how fast machines may join: ") && why.ends_with("after 20s"),
        "{why}"
    );
    stage.daemon.say(RUNNING);
    sleep(ms(1)).await;
    assert!(matches!(stage.settled().await, Phase::Up { .. }));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn on_managed_instances_it_asks_for_shutdown_alone_and_leaves_at_it() {
    let lambda = Fake::new(|asked| match asked.line.as_str() {
        "GET /2020-01-01/extension/event/next" => Some((
            200,
            r#"{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":1}"#.into(),
        )),
        _ => Some((200, "{}".into())),
    });
    let mut config = config();
    config.runtime_api = lambda.on_loopback().await;
    config.events = Events::ShutdownOnly;
    let daemon = FakeDaemon::new(Plan::default());
    let endpoint = std::env::temp_dir().join(format!("managed-{}", std::process::id()));
    extension::lifecycle::run(&config, daemon.clone(), FakeKeys::Good, endpoint.clone())
        .await
        .unwrap();
    std::fs::remove_file(endpoint).unwrap();
    assert_eq!(lambda.asked()[0].body, r#"{"events":["SHUTDOWN"]}"#);
    assert_eq!((daemon.count("logout"), daemon.is_running()), (1, false));
}
