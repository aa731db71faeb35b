//! Paths that are alive: they are probed as seldom as possible, and never torn down, at any distance.

use std::{net::IpAddr, time::Duration};

use extension::{config::Config, policy::Uncovered};
use tailnet::{
    connect::{RouteError, Router},
    protocol::OUTSIDE,
};
use tokio::time::{Instant, sleep};

use crate::{
    fake_keys::FakeKeys,
    fake_tailscaled::{Counts, PEER, Peer, Plan},
    stage::{Ending, LATE, Stage, config, ms, secs},
};

fn at(round_trip: Duration) -> Plan {
    Plan::with_peers([Peer::new("db", PEER).at(round_trip)])
}

#[tokio::test(start_paused = true)]
async fn a_path_that_was_proved_a_moment_ago_is_not_probed() {
    let stage = Stage::joined(Plan::default()).await;
    let path = stage.verify(PEER).await.unwrap();
    sleep(secs(1)).await;
    let (pings, began) = (stage.tailscaled.pings(PEER), Instant::now());
    assert_eq!(stage.verify(PEER).await, Ok(path));
    assert_eq!((stage.tailscaled.pings(PEER), began.elapsed()), (pings, Duration::ZERO));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_gap_one_probe_finds_live_links_and_no_step_is_taken() {
    let stage = Stage::joined(Plan::default()).await;
    let path = stage.preflight.path();
    for gap in [3, 12, 70, 400] {
        let pings = stage.tailscaled.pings(PEER);
        let steps = stage
            .steps_of(async {
                stage.freeze(secs(gap));
                let began = Instant::now();
                assert_eq!(stage.verify(PEER).await, Ok(path));
                assert_eq!(began.elapsed(), ms(10), "one round trip");
            })
            .await;
        // A connection to the control server that was idle for so long is renewed, which disturbs nobody.
        let renewed = Counts {
            registrations: usize::from(gap >= 300),
            ..Counts::NONE
        };
        assert_eq!(steps, renewed, "after {gap} s");
        assert_eq!(
            stage.tailscaled.pings(PEER),
            (pings.0 + 1, pings.1 + 1),
            "after {gap} s"
        );
    }
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn healthy_links_are_never_torn_down_at_any_distance() {
    for round_trip in [2, 30, 100, 300, 1000] {
        let stage = Stage::joined(at(ms(round_trip))).await;
        let path = stage.preflight.path();
        for quiet in [3, 12, 70] {
            for frozen in [false, true] {
                let steps = stage
                    .steps_of(async {
                        if frozen {
                            stage.freeze(secs(quiet));
                        } else {
                            sleep(secs(quiet)).await;
                        }
                        let began = Instant::now();
                        assert_eq!(stage.verify(PEER).await, Ok(path));
                        assert_eq!(began.elapsed(), ms(round_trip));
                    })
                    .await;
                assert_eq!(steps, Counts::NONE, "{round_trip} ms away, {quiet} s, frozen: {frozen}");
            }
        }
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_requests_after_a_login_take_no_step_at_any_distance() {
    for round_trip in [2, 30, 100, 300, 1000] {
        let stage = Stage::new(at(ms(round_trip)));
        stage.ready().await;
        let before = stage.tailscaled.counts();
        for pause in [0, 100, 500, 1000, 2500] {
            sleep(ms(pause)).await;
            let route = stage.route("100.64.0.2").await.unwrap();
            assert_eq!(stage.verify(PEER).await, Ok(route.path), "{round_trip} ms away");
        }
        sleep(secs(60)).await;
        assert_eq!(stage.tailscaled.counts() - before, Counts::NONE, "{round_trip} ms away");
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_invocation_after_a_gap_looks_at_the_path_by_itself() {
    let stage = Stage::joined(Plan::default()).await;
    stage.verify(PEER).await.unwrap();
    sleep(secs(1)).await;
    let pings = stage.tailscaled.pings(PEER);
    stage.invoke(LATE);
    stage.ready().await;
    assert_eq!(stage.tailscaled.pings(PEER), pings, "there was no gap");
    let steps = stage
        .steps_of(async {
            stage.freeze(secs(60));
            stage.invoke(LATE);
            stage.ready().await;
        })
        .await;
    assert_eq!(steps, Counts::NONE);
    assert_eq!(stage.tailscaled.pings(PEER), (pings.0 + 1, pings.1 + 1));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_round_trip_that_grows_takes_no_strong_step() {
    let stage = Stage::joined(at(ms(30))).await;
    stage.tailscaled.peer(PEER, |peer| peer.round_trip = ms(250));
    let steps = stage
        .steps_of(async {
            for _ in 0..5 {
                sleep(secs(3)).await;
                stage.verify(PEER).await.unwrap();
            }
        })
        .await;
    assert_eq!(steps.renewals, 0, "{steps:?}");
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_route_tells_the_round_trip_and_the_addresses_and_probes_nothing() {
    let stage = Stage::joined(at(ms(100))).await;
    let pings = stage.tailscaled.pings(PEER);
    let route = stage.route("db.tail.net").await.unwrap();
    assert_eq!(route.addresses, [PEER]);
    assert_eq!(
        route.sources.unwrap(),
        ["100.64.0.1".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(route.round_trip, Some(ms(100)));
    assert!(!route.just_joined);
    assert_eq!(stage.tailscaled.pings(PEER), pings);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_single_lost_packet_takes_no_step() {
    for round_trip in [2, 30, 100, 300] {
        for lost in [(1, 0), (0, 1)] {
            let stage = Stage::joined(at(ms(round_trip))).await;
            let path = stage.preflight.path();
            for gap in [3, 12, 70] {
                stage.tailscaled.peer(PEER, |peer| peer.lost = lost);
                let steps = stage
                    .steps_of(async {
                        stage.freeze(secs(gap));
                        let began = Instant::now();
                        assert_eq!(stage.verify(PEER).await, Ok(path));
                        assert!(began.elapsed() <= ms(2 * round_trip + 20), "{:?}", began.elapsed());
                    })
                    .await;
                assert_eq!(steps, Counts::NONE, "{round_trip} ms away, {gap} s, {lost:?} lost");
            }
            stage.end(Ending::Shutdown).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_no_peer_covers_is_not_probed() {
    let stage = Stage::joined(Plan::default()).await;
    let calls = stage.tailscaled.calls().len();
    stage.freeze(secs(30));
    let verified = stage.verify("203.0.113.7".parse().unwrap()).await;
    assert!(
        matches!(&verified, Err(RouteError::NotAllowed(why)) if why.starts_with("203.0.113.7 is not in the tailnet")),
        "{verified:?}"
    );
    assert_eq!(stage.tailscaled.calls().len(), calls);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn an_address_outside_that_may_be_dialled_keeps_its_path_whatever_becomes_of_the_tailnets() {
    let config = Config {
        uncovered: Uncovered::Allow,
        ..config()
    };
    let stage = Stage::with_config(&config, Plan::default(), FakeKeys::Good);
    stage.ready().await;
    let outside: IpAddr = "203.0.113.7".parse().unwrap();
    assert_eq!(stage.route("203.0.113.7").await.unwrap().path, OUTSIDE);
    let before = stage.verify(PEER).await.unwrap();
    stage.freeze(secs(70));
    stage.tailscaled.kill_links();
    assert_ne!(
        stage.verify(PEER).await.unwrap(),
        before,
        "the tailnet's path was made anew"
    );
    assert_eq!(stage.verify(outside).await.unwrap(), OUTSIDE);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_stalls_over_a_healthy_path_takes_no_step() {
    let stage = Stage::joined(at(ms(100))).await;
    let path = stage.preflight.path();
    let steps = stage
        .steps_of(async { stage.preflight.stalled(PEER, Instant::now() + secs(5)).await })
        .await;
    assert_eq!((steps, stage.preflight.path()), (Counts::NONE, path));
    stage.end(Ending::Shutdown).await;
}

/// On a small share of a core it may take long until tailscaled runs again after a freeze.
#[tokio::test(start_paused = true)]
async fn a_tailscaled_that_wakes_up_slowly_is_not_taken_for_dead_links() {
    for gap in [5, 30] {
        let stage = Stage::joined(Plan::default()).await;
        let path = stage.preflight.path();
        let steps = stage
            .steps_of(async {
                stage.freeze(secs(gap));
                stage.tailscaled.stall(ms(800));
                assert_eq!(stage.verify(PEER).await, Ok(path));
            })
            .await;
        assert_eq!(steps, Counts::NONE, "after {gap} s");
        stage.end(Ending::Shutdown).await;
    }
}
