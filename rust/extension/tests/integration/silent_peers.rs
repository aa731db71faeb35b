//! Peers that do not answer, for reasons that say nothing of the links: no other peer is disturbed for them.

use std::{net::IpAddr, time::Duration};

use tailnet::connect::{RouteError, Router};
use tokio::time::{Instant, sleep};

use crate::{
    fake_tailscaled::{Counts, PEER, Peer, Pings, Plan},
    stage::{Ending, Stage, ms, secs},
};

const OFF: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(100, 64, 0, 9));

fn address(last: u8) -> IpAddr {
    IpAddr::from([100, 64, 0, last])
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_off_while_another_answers_takes_no_step_and_delays_nobody() {
    for round_trip in [1, 100] {
        for heard_before in [true, false] {
            let off = Peer::new("off", OFF).at(ms(round_trip));
            let plan = Plan::with_peers([
                Peer::new("db", PEER).at(ms(round_trip)),
                if heard_before { off } else { off.silent() },
            ]);
            let stage = Stage::joined(plan).await;
            stage.tailscaled.peer(OFF, Peer::switch_off);
            let path = stage.preflight.path();
            let counts = stage
                .steps_of(async {
                    for _ in 0..20 {
                        let off = stage.verifying(OFF);
                        let began = Instant::now();
                        assert_eq!(stage.verify(PEER).await, Ok(path));
                        assert!(began.elapsed() <= ms(round_trip), "{:?}", began.elapsed());
                        assert_eq!(off.await.unwrap(), Ok(path));
                        sleep(secs(3)).await;
                    }
                })
                .await;
            assert_eq!(
                counts,
                Counts::NONE,
                "{round_trip} ms away, heard before: {heard_before}"
            );
            stage.end(Ending::Shutdown).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_off_after_a_freeze_with_live_links_takes_no_step() {
    let plan = Plan::with_peers([Peer::new("db", PEER), Peer::new("off", OFF)]);
    let stage = Stage::joined(plan).await;
    stage.verify(OFF).await.unwrap();
    stage.tailscaled.peer(OFF, Peer::switch_off);
    let path = stage.preflight.path();
    for gap in [5, 30, 70] {
        let counts = stage
            .steps_of(async {
                stage.freeze(secs(gap));
                assert_eq!(stage.verify(OFF).await, Ok(path));
            })
            .await;
        assert_eq!(counts, Counts::NONE, "after {gap} s");
    }
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_target_that_never_answered_takes_a_mild_step_in_30_seconds_at_most() {
    let stage = Stage::joined(Plan::with_peers([Peer::new("off", OFF).silent()])).await;
    let before = stage.tailscaled.counts();
    for _ in 0..20 {
        stage.verify(OFF).await.unwrap();
        sleep(secs(3)).await;
    }
    let counts = stage.tailscaled.counts() - before;
    assert!(counts.derp_reconnects <= 3, "{counts:?}");
    assert!(counts.registrations <= counts.derp_reconnects, "{counts:?}");
    assert_eq!((counts.renewals, counts.logins), (0, 0));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_target_that_was_switched_off_takes_few_mild_steps() {
    let stage = Stage::joined(Plan::with_peers([Peer::new("off", OFF)])).await;
    stage.verify(OFF).await.unwrap();
    stage.tailscaled.peer(OFF, Peer::switch_off);
    let before = stage.tailscaled.counts();
    for _ in 0..20 {
        sleep(secs(3)).await;
        stage.verify(OFF).await.unwrap();
    }
    let counts = stage.tailscaled.counts() - before;
    assert!(counts.derp_reconnects <= 4, "{counts:?}");
    assert!(counts.registrations <= counts.derp_reconnects, "{counts:?}");
    assert_eq!((counts.renewals, counts.logins), (0, 0), "{counts:?}");
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_left_the_tailnet_takes_no_step() {
    for round in 0..2 {
        let plan = Plan::with_peers([Peer::new("gone", OFF), Peer::new("db", PEER)]);
        let stage = Stage::joined(if round == 0 {
            plan
        } else {
            Plan::with_peers([Peer::new("gone", OFF)])
        })
        .await;
        stage.verify(OFF).await.unwrap();
        let path = stage.preflight.path();
        let fails = Pings::Fail("no matching peer");
        stage
            .tailscaled
            .peer(OFF, |peer| (peer.disco, peer.tsmp) = (fails, fails));
        let counts = stage
            .steps_of(async {
                for gap in [3, 30, 70] {
                    stage.freeze(secs(gap));
                    let began = Instant::now();
                    assert_eq!(stage.verify(OFF).await, Ok(path));
                    assert!(began.elapsed() < ms(100), "{:?}", began.elapsed());
                }
                // The netmap says so as well by then.
                stage.tailscaled.notify(r#"{"PeersRemoved":[1]}"#);
                sleep(ms(1)).await;
                stage.freeze(secs(30));
                let verified = stage.verify(OFF).await;
                assert!(matches!(verified, Err(RouteError::NotAllowed(_))), "{verified:?}");
            })
            .await;
        assert_eq!(counts, Counts::NONE);
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn frozen_machines_of_the_same_function_are_not_witnesses() {
    let siblings = [("proxy-1", 11), ("proxy-2", 12), ("proxy-x3k9q2aa", 13)];
    let mut peers: Vec<Peer> = siblings
        .iter()
        .map(|(name, last)| Peer::new(name, address(*last)).silent())
        .collect();
    peers.push(Peer::new("db", PEER));
    // Nor are those that the control server has disconnected.
    peers.push(Peer {
        online: false,
        ..Peer::new("off", OFF).silent()
    });
    let stage = Stage::joined(Plan::with_peers(peers)).await;
    let counts = stage
        .steps_of(async {
            for gap in [3, 30, 70] {
                stage.freeze(secs(gap));
                stage.verify(PEER).await.unwrap();
            }
            // Whether or not they are asked, their silence is not held against the links.
            stage.tailscaled.peer(PEER, Peer::switch_off);
            sleep(secs(3)).await;
            stage.verify(PEER).await.unwrap();
        })
        .await;
    assert_eq!((counts.renewals, counts.logins), (0, 0), "{counts:?}");
    for (name, last) in siblings {
        assert_eq!(stage.tailscaled.pings(address(last)), (0, 0), "{name}");
    }
    assert_eq!(stage.tailscaled.pings(OFF), (0, 0));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_through_its_session_is_blamed_once() {
    let plan = Plan::with_peers([Peer {
        tsmp: Pings::Ignored,
        ..Peer::new("db", PEER)
    }]);
    let stage = Stage::joined(plan).await;
    for _ in 0..10 {
        sleep(secs(7)).await;
        stage.verify(PEER).await.unwrap();
    }
    let counts = stage.tailscaled.counts();
    // Four times while it is greeted, when nothing goes over the paths yet.
    assert_eq!((counts.renewals, counts.derp_reconnects), (4, 0), "{counts:?}");
    // Once it answers, a session that dies is renewed again.
    stage.tailscaled.peer(PEER, Peer::switch_on);
    sleep(secs(7)).await;
    stage.verify(PEER).await.unwrap();
    stage.tailscaled.make_stale(PEER);
    sleep(secs(7)).await;
    stage.verify(PEER).await.unwrap();
    assert_eq!(stage.tailscaled.counts().renewals, 5);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_pings_fail_for_a_moment_is_met_all_the_same() {
    let failing = Peer {
        disco: Pings::Fail("local tailscaled stopped"),
        ..Peer::new("db", PEER)
    };
    let stage = Stage::new(Plan::with_peers([failing]));
    stage.ready().await;
    let route = tokio::spawn({
        let preflight = stage.preflight.clone();
        async move { preflight.route("db", Instant::now() + secs(5)).await }
    });
    sleep(ms(60)).await;
    stage.tailscaled.peer(PEER, Peer::switch_on);
    let before = Instant::now();
    assert!(route.await.unwrap().unwrap().just_joined);
    assert!(before.elapsed() < ms(200), "{:?}", before.elapsed());
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_machine_waits_until_a_peer_has_heard_of_it() {
    for hears_after in [100, 400, 800] {
        let plan = Plan::with_peers([Peer {
            hears_after: ms(hears_after),
            ..Peer::new("db", PEER)
        }]);
        let stage = Stage::new(plan);
        stage.ready().await;
        stage.route("db").await.unwrap();
        stage.verify(PEER).await.unwrap();
        let took = stage.began.elapsed();
        assert!(
            took >= ms(hears_after) && took < ms(hears_after + 400),
            "{hears_after} ms: {took:?}"
        );
        assert!(stage.tailscaled.counts().renewals <= 1);
        let path = stage.preflight.path();
        assert_eq!(stage.verify(PEER).await, Ok(path));
        stage.end(Ending::Shutdown).await;
    }
}

/// How long a start takes until its first request may be dialled, and how often the sessions are renewed until then.
async fn first_dial(plan: Plan) -> (Duration, usize) {
    let stage = Stage::new(plan);
    stage.ready().await;
    stage.route("db").await.unwrap();
    stage.verify(PEER).await.unwrap();
    let took = stage.began.elapsed();
    let renewals = stage.tailscaled.counts().renewals;
    stage.end(Ending::Shutdown).await;
    (took, renewals)
}

#[tokio::test(start_paused = true)]
async fn near_peers_are_sent_nothing_through_a_session_before_they_have_heard_of_a_new_machine() {
    for hears_after in [0, 20, 80, 150] {
        let (took, renewals) = first_dial(Plan {
            // UDP is blocked: a message that is lost could not be sent anew with any use for 3 s.
            home_after: secs(3),
            ..Plan::with_peers([Peer {
                hears_after: ms(hears_after),
                ..Peer::new("db", PEER)
            }])
        })
        .await;
        assert!(took < ms(hears_after + 250), "{hears_after} ms: {took:?}");
        assert_eq!(renewals, 0, "{hears_after} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_are_renewed_once_peers_can_answer_by_a_home_region() {
    for home_after in [0, 500, 3100] {
        let (took, renewals) = first_dial(Plan {
            // Far away, the first message is not held back.
            login_takes: ms(300),
            home_after: ms(home_after),
            ..Plan::with_peers([Peer {
                hears_after: ms(200),
                ..Peer::new("db", PEER)
            }])
        })
        .await;
        assert!(took < ms(300 + home_after.max(200) + 400), "{home_after} ms: {took:?}");
        assert_eq!(renewals, 1, "{home_after} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_cannot_be_pinged_is_dialed_as_it_is() {
    let fails = Pings::Fail("no path");
    let plan = Plan::with_peers([Peer {
        disco: fails,
        tsmp: fails,
        ..Peer::new("db", PEER)
    }]);
    let stage = Stage::new(plan);
    stage.ready().await;
    let counts = stage
        .steps_of(async {
            let route = stage.route("db").await.unwrap();
            assert_eq!(stage.verify(PEER).await, Ok(route.path));
        })
        .await;
    assert_eq!(counts, Counts::NONE);
    stage.end(Ending::Shutdown).await;
}
