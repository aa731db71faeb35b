//! WireGuard's sessions that a freeze, or a peer that had not heard of this node, has made useless.

use std::{net::IpAddr, time::Duration};

use extension::phase::Phase;
use status::{Answer, Ask};

use crate::{
    fake_daemon::Plan,
    stage::{Ending, FakeKeys, LIMIT, Stage},
};

async fn asked(name: &str, stale: usize) -> Stage {
    asked_with(
        name,
        Plan {
            stale,
            ..Plan::default()
        },
    )
    .await
}

async fn asked_with(name: &str, plan: Plan) -> Stage {
    let mut stage = Stage::new(name, plan, FakeKeys::Good, false);
    stage.asks().await;
    let ask = Ask::Target {
        host: "100.64.0.2".into(),
        wait_ms: 5000,
        early: false,
    };
    let answer = status::ask(stage.endpoint(), &ask, LIMIT).await.unwrap();
    let expected: Vec<IpAddr> = vec!["100.64.0.2".parse().unwrap()];
    assert!(
        matches!(&answer, Answer::Go { addresses, settling: true, .. } if *addresses == expected),
        "{answer:?}"
    );
    stage
}

#[tokio::test]
async fn a_good_session_is_left_alone() {
    let stage = asked("session-fresh", 0).await;
    assert_eq!((stage.daemon.count("TSMP"), stage.daemon.count("PATCH")), (1, 0));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_stale_session_is_dropped_and_the_environment_stays_in_the_tailnet() {
    let mut stage = asked("session-stale", 1).await;
    assert_eq!((stage.daemon.count("TSMP"), stage.daemon.count("PATCH")), (2, 2));
    let phase = stage.tailnet.settled(Duration::ZERO).await;
    assert!(matches!(phase, Phase::Up { .. }), "{phase:?}");
    assert_eq!(stage.daemon.starts().len(), 1, "it was started again");
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_peer_that_does_not_take_the_first_new_sessions_takes_a_later_one() {
    let stage = asked("session-flood", 3).await;
    assert_eq!((stage.daemon.count("TSMP"), stage.daemon.count("PATCH")), (4, 6));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_peer_whose_pings_fail_for_a_moment_is_met_all_the_same() {
    let plan = Plan {
        failing_pings: 4,
        stale: 1,
        ..Plan::default()
    };
    let stage = asked_with("session-pings", plan).await;
    assert_eq!((stage.daemon.count("TSMP"), stage.daemon.count("PATCH")), (2, 2));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_peer_that_cannot_be_pinged_is_dialled_as_it_is() {
    let plan = Plan {
        failing_pings: usize::MAX,
        ..Plan::default()
    };
    let stage = asked_with("session-no-pings", plan).await;
    assert_eq!((stage.daemon.count("TSMP"), stage.daemon.count("PATCH")), (0, 0));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_session_over_which_a_dial_hangs_is_looked_at_however_young_it_is() {
    let stage = asked("session-hung", 0).await;
    let pings = stage.daemon.count("TSMP");
    stage.daemon.plan(|plan| plan.stale = 1);
    let hung = Ask::Hung {
        address: "100.64.0.2".parse().unwrap(),
    };
    for _ in 0..2 {
        let answer = status::ask(stage.endpoint(), &hung, LIMIT).await.unwrap();
        assert_eq!(answer, Answer::Alive);
        assert_eq!(
            (stage.daemon.count("TSMP") - pings, stage.daemon.count("PATCH")),
            (2, 2),
            "once"
        );
    }
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_peer_with_which_there_is_no_session_is_dialled_all_the_same() {
    let stage = asked("session-hopeless", usize::MAX).await;
    // A slow machine has time for fewer.
    let tries = stage.daemon.count("TSMP");
    assert!((3..=6).contains(&tries), "{tries} tries");
    assert_eq!(stage.daemon.count("PATCH"), 2 * tries);
    stage.end(Ending::Shutdown).await;
}

/// The old one would hold it up for as long as its pauses are, which grow to 45 s.
#[tokio::test]
async fn a_daemon_that_is_out_of_touch_with_control_gets_a_new_control_client_first() {
    let plan = Plan {
        stale: 1,
        in_touch: false,
        ..Plan::default()
    };
    let stage = asked_with("session-out-of-touch", plan).await;
    // One for the login; then it is switched off with the second, and on again.
    assert_eq!(
        (
            stage.daemon.count("POST /localapi/v0/start"),
            stage.daemon.count("PATCH")
        ),
        (2, 1)
    );
    assert_eq!(stage.daemon.starts().len(), 1, "it was started again");
    stage.end(Ending::Shutdown).await;
}
