//! WireGuard's sessions that a freeze, or a peer that had not heard of this node, has made useless.

use std::{net::IpAddr, time::Duration};

use extension::phase::Phase;
use status::{Answer, Ask};

use crate::{
    fake_daemon::{Plan, Staleness},
    stage::{Ending, FakeKeys, LIMIT, Stage},
};

async fn asked(name: &str, stale: Staleness) -> Stage {
    let plan = Plan {
        stale,
        ..Plan::default()
    };
    let mut stage = Stage::new(name, plan, FakeKeys::Good, false);
    stage.asks().await;
    let ask = Ask::Target {
        host: "100.64.0.2".into(),
        wait_ms: 5000,
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
    let stage = asked("session-fresh", Staleness::Fresh).await;
    assert_eq!((stage.daemon.count("TSMP"), stage.daemon.count("PATCH")), (1, 0));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_stale_session_is_dropped_and_the_environment_stays_in_the_tailnet() {
    let mut stage = asked("session-stale", Staleness::Stale).await;
    assert_eq!((stage.daemon.count("TSMP"), stage.daemon.count("PATCH")), (2, 2));
    let phase = stage.tailnet.settled(Duration::ZERO).await;
    assert!(matches!(phase, Phase::Up { .. }), "{phase:?}");
    assert_eq!(stage.daemon.starts().len(), 1, "it was started again");
    stage.end(Ending::Shutdown).await;
}

#[tokio::test]
async fn a_peer_with_which_there_is_no_session_is_dialled_all_the_same() {
    let stage = asked("session-hopeless", Staleness::Hopeless).await;
    assert_eq!((stage.daemon.count("TSMP"), stage.daemon.count("PATCH")), (3, 6));
    stage.end(Ending::Shutdown).await;
}
