//! What comes in between: freezes during a greeting, requests during a repair, ends during anything.

use std::net::IpAddr;

use tokio::time::{Instant, sleep};

use crate::{
    fake_tailscaled::{Counts, PEER, Peer, Plan},
    stage::{Ending, LATE, Stage, ms, secs},
};

const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(100, 64, 0, 3));

/// The first invocation may come long after INIT.
#[tokio::test(start_paused = true)]
async fn a_freeze_during_a_greeting_does_not_delay_the_repair() {
    for gap in [5, 60] {
        let plan = Plan::with_peers([
            Peer::new("db", PEER),
            Peer {
                hears_after: secs(3),
                ..Peer::new("late", OTHER)
            },
        ]);
        let stage = Stage::new(plan);
        stage.ready().await;
        stage.freeze(secs(gap));
        stage.tailscaled.kill_links();
        let path = stage.preflight.path();
        let began = Instant::now();
        let late = stage.verifying(OTHER);
        assert!(stage.verify(PEER).await.unwrap() > path);
        assert!(late.await.unwrap().unwrap() > path);
        assert!(began.elapsed() < ms(800), "after {gap} s: {:?}", began.elapsed());
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_invocation_long_after_init_repairs_the_path_before_any_request() {
    let stage = Stage::new(Plan::default());
    stage.ready().await;
    let counts = stage
        .steps_of(async {
            stage.freeze(secs(600));
            stage.tailscaled.kill_links();
            stage.invoke(LATE);
            stage.ready().await;
        })
        .await;
    assert_eq!(counts, Counts::STRONG_STEP);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn requests_during_a_slow_reconnection_take_no_second_step() {
    for round_trip in [30, 100, 300] {
        for (gap, expected) in [(5, Counts::MILD_STEP), (30, Counts::STRONG_STEP)] {
            let plan = Plan {
                derp_takes: ms(3 * round_trip + 50),
                ..Plan::with_peers([
                    Peer::new("db", PEER).at(ms(round_trip)),
                    Peer::new("web", OTHER).at(ms(round_trip)),
                ])
            };
            let stage = Stage::joined(plan).await;
            stage.verify(OTHER).await.unwrap();
            let counts = stage
                .steps_of(async {
                    stage.freeze(secs(gap));
                    stage.tailscaled.kill_links();
                    let began = Instant::now();
                    let mut requests = Vec::new();
                    while began.elapsed() < secs(8) {
                        requests.push(stage.verifying(PEER));
                        requests.push(stage.verifying(OTHER));
                        sleep(ms(100)).await;
                    }
                    for request in requests {
                        request.await.unwrap().unwrap();
                    }
                })
                .await;
            assert_eq!(counts, expected, "{round_trip} ms away, after {gap} s");
            stage.end(Ending::Shutdown).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn links_that_die_while_the_environment_is_awake_are_repaired() {
    let stage = Stage::joined(Plan::default()).await;
    let path = stage.preflight.path();
    let counts = stage
        .steps_of(async {
            stage.tailscaled.kill_links();
            let died = Instant::now();
            while stage.verify(PEER).await.unwrap() == path {
                assert!(died.elapsed() < secs(3), "they are still dead");
                sleep(ms(500)).await;
            }
        })
        .await;
    assert_eq!(counts, Counts::MILD_STEP);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_tailscaled_that_dies_during_a_repair_is_started_again_and_requests_wait_for_it() {
    for delay in [0, 1, 25, 35] {
        let stage = Stage::joined(Plan::default()).await;
        let path = stage.preflight.path();
        stage.freeze(secs(30));
        stage.tailscaled.kill_links();
        let request = stage.verifying(PEER);
        sleep(ms(delay)).await;
        stage.tailscaled.die();
        request.await.unwrap().unwrap();
        // One turn: the news travels.
        sleep(ms(1)).await;
        assert_eq!(stage.available(secs(5)).await, Ok(()));
        assert!(stage.verify(PEER).await.unwrap() > path);
        assert_eq!(stage.tailscaled.starts().len(), 2);
        sleep(secs(10)).await;
        assert_eq!(stage.tailscaled.starts().len(), 2);
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_ends_during_a_repair_is_logged_out_in_time() {
    for ending in [Ending::Shutdown, Ending::Sigterm] {
        for gap in [5, 30] {
            for delay in [0, 1, 25, 40, 500] {
                for backs_off in [false, true] {
                    let stage = Stage::joined(Plan::default()).await;
                    stage.freeze(secs(gap));
                    stage.tailscaled.kill_links();
                    if backs_off {
                        stage.tailscaled.back_off_control(secs(45));
                    }
                    let request = stage.verifying(PEER);
                    sleep(ms(delay)).await;
                    let tailscaled = stage.tailscaled.clone();
                    stage.end(ending).await;
                    let log_outs = tailscaled.counts().log_outs;
                    assert_eq!(
                        log_outs, 1,
                        "{ending:?} after {gap} s and {delay} ms, in back-off: {backs_off}"
                    );
                    drop(request);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_repair_is_finished_though_nobody_waits_for_it() {
    let stage = Stage::joined(Plan::default()).await;
    stage.freeze(secs(30));
    stage.tailscaled.kill_links();
    let before = stage.tailscaled.counts();
    for delay in [1, 24] {
        let request = stage.verifying(PEER);
        sleep(ms(delay)).await;
        request.abort();
    }
    sleep(secs(1)).await;
    assert_eq!(stage.tailscaled.counts() - before, Counts::STRONG_STEP);
    let path = stage.preflight.path();
    assert_eq!(stage.verify(PEER).await, Ok(path));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_tailscaled_that_does_not_switch_on_at_once_is_not_left_switched_off() {
    let refusing = Plan {
        refused_switch_ons: 2,
        ..Plan::default()
    };
    let stalling = Plan {
        stalls_when_switched_off: ms(3500),
        ..Plan::default()
    };
    for plan in [refusing, stalling] {
        let stage = Stage::joined(plan).await;
        stage.freeze(secs(30));
        stage.tailscaled.kill_links();
        let path = stage.preflight.path();
        // The answer may be an error: the next request comes.
        drop(stage.verify(PEER).await);
        sleep(secs(8)).await;
        assert!(stage.tailscaled.is_switched_on());
        assert!(stage.verify(PEER).await.unwrap() > path);
        assert_eq!(stage.available(secs(5)).await, Ok(()));
        stage.end(Ending::Shutdown).await;
    }
}
