//! A machine that the control server does not know any more: how the extension hears of it, and the way back. Silence is not
//! a removal.

use std::time::Duration;

use extension::supervisor::state::TailnetState;
use tokio::time::{Instant, sleep};

use crate::{
    fake_tailscaled::{PEER, Peer, Plan, Renewal},
    stage::{Ending, Stage, ms, secs},
};

/// The pause before a restart, and the time that tailscaled takes.
const BACK: Duration = Duration::from_millis(50 + 20);

/// Waits until the machine is back, after `removal`.
async fn assert_a_new_login(stage: &Stage, removal: impl Future<Output = ()>) {
    let (logins, lives) = (stage.tailscaled.counts().logins, stage.tailscaled.starts().len());
    removal.await;
    let removed = Instant::now();
    // One turn: the news travels.
    sleep(ms(1)).await;
    assert_eq!(stage.available(secs(8)).await, Ok(()));
    assert_eq!(removed.elapsed(), BACK);
    assert_eq!(stage.tailscaled.starts().len(), lives + 1);
    assert_eq!(stage.tailscaled.counts().logins, logins + 1);
    assert_eq!(stage.tailscaled.counts().log_outs, 0, "there was no machine to log out");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_the_control_server_does_not_find_logs_in_again_at_once() {
    let stage = Stage::joined(Plan::default()).await;
    assert_a_new_login(&stage, async { stage.tailscaled.print_removal() }).await;
    assert_eq!(stage.end(Ending::Shutdown).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_has_to_log_in_interactively_is_removed_and_logs_in_again() {
    let stage = Stage::joined(Plan::default()).await;
    for line in [r#"{"BrowseToURL":"http://control/a"}"#, r#"{"State":2}"#] {
        assert_a_new_login(&stage, async { stage.tailscaled.notify(line) }).await;
        sleep(secs(61)).await;
    }
    assert_eq!(stage.end(Ending::Shutdown).await, 1);
}

#[tokio::test(start_paused = true)]
async fn the_state_tells_of_a_removal_while_the_next_login_is_under_way() {
    let stage = Stage::joined(Plan::default()).await;
    stage.tailscaled.plan(|plan| plan.login_takes = secs(3));
    stage.tailscaled.print_removal();
    sleep(ms(10)).await;
    let TailnetState::Starting { note: Some(note) } = stage.tailnet.state() else {
        panic!("{:?}", stage.tailnet.state())
    };
    assert!(note.starts_with("NodeRemoved: "), "{note}");
    assert_eq!(stage.available(secs(8)).await, Ok(()));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_registration_by_the_node_key_that_is_refused_or_unknown_means_a_new_login() {
    for renewal in [
        Renewal::Refused("invalid key: API key does not exist"),
        Renewal::Refused("authkey already used"),
        Renewal::Unknown,
    ] {
        let stage = Stage::joined(Plan::default()).await;
        stage.tailscaled.plan(|plan| plan.renewal = renewal);
        stage.freeze(secs(30));
        stage.tailscaled.kill_links();
        stage.verify(PEER).await.unwrap();
        sleep(secs(1)).await;
        assert_eq!(stage.available(secs(8)).await, Ok(()), "{renewal:?}");
        assert_eq!(stage.tailscaled.starts().len(), 2, "{renewal:?}");
        assert_eq!(stage.tailscaled.counts().logins, 2, "{renewal:?}");
        assert!(stage.verify(PEER).await.is_ok());
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_on_renewals_is_not_a_removal() {
    let stage = Stage::joined(Plan::default()).await;
    let limited = Renewal::Refused("node registration rate limited; will retry after 20s");
    stage.tailscaled.plan(|plan| plan.renewal = limited);
    stage.freeze(secs(30));
    stage.tailscaled.kill_links();
    stage.verify(PEER).await.unwrap();
    sleep(secs(5)).await;
    assert_eq!(stage.available(secs(0)).await, Ok(()));
    assert_eq!(stage.tailscaled.starts().len(), 1);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn silence_is_not_a_removal_however_long_it_lasts() {
    let stage = Stage::joined(Plan::default()).await;
    let running = stage.tailnet.state();
    stage.tailscaled.peer(PEER, Peer::switch_off);
    stage.tailscaled.plan(|plan| plan.control_unreachable = true);
    stage.tailscaled.kill_links();
    stage.freeze(secs(62));
    for _ in 0..20 {
        stage.verify(PEER).await.unwrap();
        sleep(secs(3)).await;
    }
    stage.tailscaled.plan(|plan| plan.renewal = Renewal::Silent);
    sleep(secs(120)).await;
    assert_eq!(stage.tailnet.state(), running);
    assert_eq!(
        (stage.tailscaled.starts().len(), stage.tailscaled.counts().logins),
        (1, 1)
    );
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_a_peer_during_a_removal_waits_for_the_login_instead() {
    let stage = Stage::joined(Plan::default()).await;
    stage.freeze(secs(30));
    stage.tailscaled.peer(PEER, Peer::switch_off);
    let path = stage.preflight.path();
    let verifying = stage.verifying(PEER);
    sleep(ms(1)).await;
    assert_eq!(stage.tailscaled.in_flight(PEER), 2);
    stage.tailscaled.peer(PEER, Peer::switch_on);
    stage.tailscaled.print_removal();
    assert!(verifying.await.unwrap().unwrap() > path);
    assert_eq!(stage.tailscaled.starts().len(), 2);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_login_has_a_new_path_and_greets_the_peers_that_were_asked_for() {
    let stage = Stage::joined(Plan::default()).await;
    stage.verify(PEER).await.unwrap();
    let path = stage.preflight.path();
    let pings = stage.tailscaled.pings(PEER);
    stage.tailscaled.print_removal();
    sleep(secs(5)).await;
    assert!(stage.preflight.path() > path);
    assert!(stage.tailscaled.pings(PEER) > pings);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_removed_again_and_again_logs_in_with_growing_pauses() {
    let stage = Stage::joined(Plan::default()).await;
    for _ in 0..8 {
        while !matches!(stage.tailnet.state(), TailnetState::Running { .. }) {
            sleep(ms(1)).await;
        }
        stage.tailscaled.print_removal();
        sleep(ms(1)).await;
    }
    let starts = stage.tailscaled.starts();
    let pauses: Vec<Duration> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let grow = pauses[1..].windows(2).all(|pair| pair[1] > pair[0]);
    assert!(grow && pauses[6] > secs(1), "{pauses:?}");
    stage.end(Ending::Sigterm).await;
}
