//! Paths that died in a freeze: the mildest step that helps is taken, once.

use std::{net::IpAddr, time::Duration};

use tailnet::connect::Router;
use tokio::time::{Instant, sleep};

use crate::{
    fake_tailscaled::{Counts, FakeTailscaled, PEER, Peer, Plan},
    stage::{Ending, LATE, Stage, ms, secs},
};

const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(100, 64, 0, 3));

/// The calls that change anything.
fn steps(tailscaled: &FakeTailscaled, from: usize) -> Vec<String> {
    let calls = tailscaled.calls();
    let changing = |call: &&String| !call.contains("/ping?") && !call.starts_with("GET");
    let trimmed = |call: &String| call.replace("/localapi/v0/", "").trim_end().to_owned();
    calls[from..].iter().filter(changing).map(trimmed).collect()
}

/// Kills the links in a freeze of `gap`. Returns what it took until the path was alive again, and how long.
async fn freeze_with_dead_links(stage: &Stage, gap: Duration) -> (Counts, Duration) {
    let path = stage.preflight.path();
    let mut took = Duration::ZERO;
    let counts = stage
        .steps_of(async {
            stage.freeze(gap);
            stage.tailscaled.kill_links();
            let began = Instant::now();
            assert!(stage.verify(PEER).await.unwrap() > path, "the path is a new one");
            took = began.elapsed();
        })
        .await;
    (counts, took)
}

#[tokio::test(start_paused = true)]
async fn links_that_died_in_a_short_freeze_are_reconnected_and_sessions_are_kept() {
    let stage = Stage::joined(Plan::default()).await;
    for gap in [3, 5, 8] {
        let (counts, took) = freeze_with_dead_links(&stage, secs(gap)).await;
        assert_eq!(counts, Counts::MILD_STEP, "after {gap} s");
        assert!(took < ms(50), "{took:?}");
        assert!(stage.verify(PEER).await.is_ok());
    }
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn links_and_sessions_that_died_in_a_long_freeze_are_renewed_without_the_control_client() {
    let stage = Stage::joined(Plan::default()).await;
    for gap in [12, 30, 70, 400] {
        let from = stage.tailscaled.calls().len();
        let (counts, took) = freeze_with_dead_links(&stage, secs(gap)).await;
        assert_eq!(counts, Counts::STRONG_STEP, "after {gap} s");
        assert!(took < ms(50), "{took:?}");
        assert_eq!(
            steps(&stage.tailscaled, from),
            [
                "POST disconnect-control",
                r#"PATCH prefs {"WantRunning":false,"WantRunningSet":true}"#,
                r#"PATCH prefs {"WantRunning":true,"WantRunningSet":true}"#,
                "POST start {}"
            ]
        );
    }
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn the_time_to_notice_dead_links_follows_from_the_round_trip() {
    for (round_trip, limit) in [(2, 20), (30, 55), (100, 140), (300, 400), (1000, 1300)] {
        let stage = Stage::joined(Plan::with_peers([Peer::new("db", PEER).at(ms(round_trip))])).await;
        let (counts, took) = freeze_with_dead_links(&stage, secs(5)).await;
        assert_eq!(counts, Counts::MILD_STEP, "{round_trip} ms away");
        assert!(
            took >= ms(round_trip) && took < ms(limit),
            "{round_trip} ms away: {took:?}"
        );
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_of_two_freezes_in_a_row_is_recovered_from() {
    for gap in [5, 30] {
        let stage = Stage::joined(Plan::default()).await;
        for _ in 0..3 {
            let path = stage.preflight.path();
            stage.freeze(secs(gap));
            stage.tailscaled.kill_links();
            assert!(stage.verify(PEER).await.unwrap() > path);
            // The monotonic clock stood still: hardly any time has passed for it.
            sleep(ms(200)).await;
        }
        let before = stage.tailscaled.counts();
        stage.freeze(secs(3));
        assert_eq!(
            stage.verify(PEER).await,
            Ok(stage.preflight.path()),
            "the links are alive"
        );
        assert_eq!(stage.tailscaled.counts(), before);
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_invocation_after_a_freeze_repairs_the_path_by_itself() {
    let stage = Stage::joined(Plan::default()).await;
    stage.verify(PEER).await.unwrap();
    let counts = stage
        .steps_of(async {
            stage.freeze(secs(60));
            stage.tailscaled.kill_links();
            stage.invoke(LATE);
            stage.ready().await;
        })
        .await;
    assert_eq!(counts, Counts::STRONG_STEP);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_died_is_renewed_once_and_the_environment_stays_in_the_tailnet() {
    let stage = Stage::joined(Plan::default()).await;
    let path = stage.preflight.path();
    let counts = stage
        .steps_of(async {
            stage.freeze(secs(70));
            stage.tailscaled.make_stale(PEER);
            assert!(stage.verify(PEER).await.unwrap() > path);
            assert_eq!(stage.available(secs(0)).await, Ok(()));
        })
        .await;
    assert_eq!(counts, Counts::STRONG_STEP);
    assert_eq!(stage.tailscaled.starts().len(), 1, "it was started again");
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_died_with_the_links_is_renewed_after_them() {
    let stage = Stage::joined(Plan::default()).await;
    let path = stage.preflight.path();
    let counts = stage
        .steps_of(async {
            stage.freeze(secs(5));
            stage.tailscaled.kill_links();
            stage.tailscaled.make_stale(PEER);
            let mild = stage.verify(PEER).await.unwrap();
            assert!(mild > path);
            // The proxy dials again over the new path, and asks again.
            assert!(stage.verify(PEER).await.unwrap() > mild);
        })
        .await;
    assert_eq!((counts.derp_reconnects, counts.renewals), (1, 1), "{counts:?}");
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn strong_steps_are_at_least_5_seconds_apart() {
    let plan = Plan::with_peers([Peer::new("db", PEER), Peer::new("web", OTHER)]);
    let stage = Stage::joined(plan).await;
    let before = stage.tailscaled.counts();
    stage.freeze(secs(70));
    for address in [PEER, OTHER, PEER] {
        stage.tailscaled.make_stale(address);
        let began = Instant::now();
        stage.verify(address).await.unwrap();
        assert!(began.elapsed() < ms(500), "{:?}", began.elapsed());
        sleep(secs(1)).await;
    }
    assert_eq!((stage.tailscaled.counts() - before).renewals, 1);
    sleep(secs(5)).await;
    stage.tailscaled.make_stale(OTHER);
    stage.verify(OTHER).await.unwrap();
    assert_eq!((stage.tailscaled.counts() - before).renewals, 2);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_stalls_has_the_session_looked_at_however_fresh_the_path_seems() {
    let stage = Stage::joined(Plan::default()).await;
    stage.verify(PEER).await.unwrap();
    stage.tailscaled.make_stale(PEER);
    let path = stage.preflight.path();
    let counts = stage
        .steps_of(async {
            for _ in 0..2 {
                stage.preflight.stalled(PEER, Instant::now() + secs(5)).await;
            }
            assert!(stage.preflight.path() > path);
        })
        .await;
    assert_eq!(counts, Counts::STRONG_STEP, "once");
    stage.end(Ending::Shutdown).await;
}

/// The old client would hold up all of the LocalAPI for as long as its pauses are, which grow to 45 s.
#[tokio::test(start_paused = true)]
async fn a_control_client_that_sleeps_in_its_back_off_does_not_delay_a_repair() {
    for gap in [5, 30] {
        let stage = Stage::joined(Plan::default()).await;
        let path = stage.preflight.path();
        stage.freeze(secs(gap));
        stage.tailscaled.kill_links();
        stage.tailscaled.back_off_control(secs(45));
        let began = Instant::now();
        assert!(stage.verify(PEER).await.unwrap() > path);
        sleep(ms(100)).await;
        stage.verify(PEER).await.unwrap();
        assert!(began.elapsed() < ms(200), "after {gap} s: {:?}", began.elapsed());
        sleep(secs(60)).await;
        assert_eq!(
            stage.tailscaled.counts().registrations,
            1,
            "it has a new control client"
        );
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_control_server_that_is_silent_for_minutes_leaves_the_data_plane_alone() {
    let stage = Stage::joined(Plan::default()).await;
    stage.tailscaled.plan(|plan| plan.control_unreachable = true);
    let began = Instant::now();
    for gap in [5, 60, 60] {
        stage.verify(PEER).await.unwrap();
        let (counts, took) = freeze_with_dead_links(&stage, secs(gap)).await;
        sleep(secs(60)).await;
        assert_eq!(counts.registrations, 0);
        assert!(took < ms(100), "{took:?}");
        assert_eq!(stage.available(secs(0)).await, Ok(()));
    }
    assert!(began.elapsed() > secs(120));
    assert_eq!(stage.tailscaled.starts().len(), 1);
    // Its log-out cannot succeed, and still ends in time.
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_tailscaled_that_closes_the_bus_or_reports_the_login_again_changes_nothing() {
    let stage = Stage::joined(Plan::default()).await;
    let running = stage.tailnet.state();
    let fell_behind = r#"{"ErrMessage":"IPN bus consumer fell behind; closing watch"}"#;
    stage.tailscaled.notify(fell_behind);
    stage.tailscaled.close_bus();
    sleep(secs(1)).await;
    stage.tailscaled.join();
    sleep(secs(1)).await;
    assert_eq!(stage.tailnet.state(), running);
    assert_eq!(stage.tailscaled.count("watch-ipn-bus"), 2, "it was opened again");
    assert_eq!(stage.route("db").await.unwrap().addresses, [PEER]);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn the_path_to_a_target_behind_a_subnet_router_is_that_of_the_router() {
    let target: IpAddr = "10.1.2.3".parse().unwrap();
    let stage = Stage::joined(Plan::with_peers([Peer::new("router", PEER).router()])).await;
    assert_eq!(stage.route("10.1.2.3").await.unwrap().addresses, [target]);
    let path = stage.verify(target).await.unwrap();
    let counts = stage
        .steps_of(async {
            stage.freeze(secs(30));
            assert_eq!(stage.verify(target).await, Ok(path), "the links are alive");
            stage.freeze(secs(30));
            stage.tailscaled.kill_links();
            assert!(stage.verify(target).await.unwrap() > path);
        })
        .await;
    assert_eq!(counts, Counts::STRONG_STEP);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn dead_links_are_repaired_once_though_the_wanted_peer_is_off() {
    for (gap, expected) in [(5, Counts::MILD_STEP), (30, Counts::STRONG_STEP)] {
        let stage = Stage::joined(Plan::with_peers([Peer::new("db", PEER), Peer::new("off", OTHER)])).await;
        stage.verify(OTHER).await.unwrap();
        stage.tailscaled.peer(OTHER, Peer::switch_off);
        let counts = stage
            .steps_of(async {
                stage.freeze(secs(gap));
                stage.tailscaled.kill_links();
                stage.verify(OTHER).await.unwrap();
            })
            .await;
        assert_eq!(counts, expected, "after {gap} s");
        let counts = stage
            .steps_of(async {
                for _ in 0..10 {
                    sleep(secs(3)).await;
                    stage.verify(OTHER).await.unwrap();
                }
            })
            .await;
        assert_eq!(counts, Counts::NONE, "another peer answers");
        stage.end(Ending::Shutdown).await;
    }
}
