//! A machine that the tailnet has removed: how the extension hears of it, and the way back.

use std::time::Duration;

use status::{Answer, Ask};
use tokio::time::{Instant, sleep};

use crate::{
    fake_daemon::{Plan, RUNNING},
    stage::{Ending, FakeKeys, LIMIT, Stage},
};

/// A pause, and the time that the daemon takes.
const BACK: Duration = Duration::from_millis(50 + 20);

#[tokio::test(start_paused = true)]
async fn a_removed_machine_logs_in_again_at_once_and_does_not_log_out() {
    let mut stage = Stage::new("removed", Plan::default(), FakeKeys::Good, false);
    stage.asks().await;
    let removed = Instant::now();
    stage.daemon.disown();
    // One turn: the news travels.
    sleep(Duration::from_millis(1)).await;
    stage.tailnet.ready(LIMIT).await.unwrap();
    assert_eq!(removed.elapsed(), BACK);
    assert_eq!(stage.daemon.starts().len(), 2);
    assert_eq!(stage.daemon.count("logout"), 0, "there was no machine to log out");
    assert_eq!(stage.end(Ending::Shutdown).await, 1);
}

#[tokio::test]
async fn one_who_waits_for_a_peer_when_the_removal_is_heard_of_waits_for_the_login_instead() {
    let plan = Plan {
        mute: vec!["ping"],
        ..Plan::default()
    };
    let mut stage = Stage::new("removed-look", plan, FakeKeys::Good, false);
    stage.asks().await;
    let ask = Ask::Target {
        host: "100.64.0.2".into(),
        wait_ms: 5000,
        early: false,
    };
    let endpoint = stage.endpoint().to_owned();
    let asked = tokio::spawn(async move { status::ask(&endpoint, &ask, LIMIT).await });
    while stage.daemon.count("type=disco") == 0 {
        tokio::task::yield_now().await;
    }
    stage.daemon.plan(|plan| plan.mute.clear());
    stage.daemon.disown();
    let answer = asked.await.unwrap().unwrap();
    assert!(matches!(&answer, Answer::Go { settling: true, .. }), "{answer:?}");
    assert_eq!(stage.daemon.starts().len(), 2);
    stage.end(Ending::Shutdown).await;
}

/// Its login is under way: another daemon would be another machine.
#[tokio::test(start_paused = true)]
async fn a_daemon_that_was_switched_off_and_on_brings_the_machine_back_itself() {
    let mut stage = Stage::new("removed-switched", Plan::default(), FakeKeys::Good, false);
    stage.asks().await;
    for line in [r#"{"State":4}"#, r#"{"State":5}"#, RUNNING] {
        stage.daemon.say(line);
    }
    sleep(Duration::from_millis(1)).await;
    stage.daemon.disown();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(stage.daemon.starts().len(), 1);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_not_renewed_goes_on() {
    let mut stage = Stage::new("not-renewed", Plan::default(), FakeKeys::Good, false);
    stage.asks().await;
    stage.daemon.say(r#"{"ErrMessage":"authkey already used"}"#);
    sleep(Duration::from_secs(1)).await;
    stage.tailnet.ready(LIMIT).await.unwrap();
    assert_eq!(stage.daemon.starts().len(), 1);
    assert_eq!(stage.end(Ending::Shutdown).await, 1);
}
