//! Exit nodes: all that no peer covers leaves through them, or by nothing if they are required.

use std::net::IpAddr;

use extension::{config::Config, supervisor::exit_node::ExitNode};
use tokio::time::sleep;

use crate::{
    fake_keys::FakeKeys,
    fake_tailscaled::{Counts, PEER, Peer, Plan},
    stage::{Ending, Stage, code, config, ms, secs},
};

const EXIT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(100, 64, 0, 9));
const OUTSIDE: &str = "203.0.113.7";

fn with(node: &str, required: bool) -> Config {
    let exit_node = ExitNode {
        node: node.into(),
        required,
        ping_timeout: ms(50),
        pings: 3,
    };
    Config {
        exit_node: Some(exit_node),
        ..config()
    }
}

fn plan(exit: Peer) -> Plan {
    Plan::with_peers([Peer::new("db", PEER), exit.exit_node()])
}

fn stage(config: &Config, exit: Peer) -> Stage {
    Stage::with_config(config, plan(exit), FakeKeys::Good)
}

#[tokio::test(start_paused = true)]
async fn a_node_that_answers_is_used_by_any_of_its_names() {
    for node in ["exit", "exit.tail.net", "100.64.0.9"] {
        let stage = stage(&with(node, true), Peer::new("exit", EXIT));
        stage.ready().await;
        assert!(stage.route(OUTSIDE).await.is_ok(), "{node}");
        let used = r#"PATCH /localapi/v0/prefs {"ExitNodeID":"n-exit","ExitNodeIDSet":true}"#;
        assert_eq!(stage.tailscaled.count(used), 1);
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_is_pinged_as_often_as_configured_and_not_used() {
    let mut config = with("exit", true);
    config.hostname = "exit".into();
    let stage = stage(&config, Peer::new("exit", EXIT).silent());
    stage.ready().await;
    assert_eq!(stage.available(secs(0)).await, Err("ExitNodeUnavailable"));
    assert_eq!(stage.tailscaled.pings(EXIT), (3, 0));
    assert_eq!(stage.tailscaled.count("ExitNodeID"), 0);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn the_ping_settings_cannot_outlast_init() {
    let mut config = with("exit", true);
    let node = config.exit_node.as_mut().unwrap();
    (node.ping_timeout, node.pings) = (secs(2), 10);
    let stage = stage(&config, Peer::new("exit", EXIT).silent());
    assert_eq!(stage.ready().await, ms(4020));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_required_node_that_is_unknown_or_offers_nothing_is_reported() {
    for (node, reason) in [
        ("elsewhere", "no machine with this address or name"),
        ("db", "does not offer"),
    ] {
        let stage = stage(&with(node, true), Peer::new("exit", EXIT));
        stage.ready().await;
        let unavailable = stage.tailnet.state().unavailable().unwrap();
        assert_eq!(unavailable.code, "ExitNodeUnavailable");
        assert!(unavailable.message.contains(reason), "{unavailable}");
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_optional_node_that_is_down_is_tried_again_and_used_later() {
    let stage = stage(&with("exit", false), Peer::new("exit", EXIT).silent());
    stage.ready().await;
    assert!(stage.route("db").await.is_ok(), "the tailnet can be used without it");
    assert!(stage.route(OUTSIDE).await.is_err());
    sleep(secs(30)).await;
    stage.tailscaled.peer(EXIT, Peer::switch_on);
    sleep(secs(60)).await;
    assert!(stage.route(OUTSIDE).await.is_ok());
    assert_eq!(stage.tailscaled.counts().logins, 1);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_required_node_that_is_down_keeps_the_machine_and_is_reported_until_it_answers() {
    let stage = stage(&with("exit", true), Peer::new("exit", EXIT).silent());
    stage.ready().await;
    for _ in 0..20 {
        assert_eq!(code(stage.route("db").await), "ExitNodeUnavailable");
        sleep(secs(3)).await;
    }
    stage.tailscaled.peer(EXIT, Peer::switch_on);
    sleep(secs(60)).await;
    assert!(stage.route(OUTSIDE).await.is_ok() && stage.route("db").await.is_ok());
    let expected = Counts {
        logins: 1,
        ..Counts::NONE
    };
    assert_eq!(
        (stage.tailscaled.counts(), stage.tailscaled.starts().len()),
        (expected, 1)
    );
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_required_node_that_goes_down_later_keeps_the_machine_and_is_reported_until_it_answers() {
    let stage = stage(&with("exit", true), Peer::new("exit", EXIT));
    stage.ready().await;
    sleep(secs(20)).await;
    let outside: IpAddr = OUTSIDE.parse().unwrap();
    stage.verify(PEER).await.unwrap();
    stage.tailscaled.peer(EXIT, Peer::switch_off);
    let before = stage.tailscaled.counts();
    for _ in 0..10 {
        assert_eq!(code(stage.verify(outside).await), "ExitNodeUnavailable");
        assert!(stage.verify(PEER).await.is_ok(), "peers do without it");
        sleep(secs(3)).await;
    }
    stage.tailscaled.peer(EXIT, Peer::switch_on);
    assert!(stage.verify(outside).await.is_ok());
    assert_eq!(stage.tailscaled.counts() - before, Counts::NONE);
    assert_eq!(stage.tailscaled.starts().len(), 1);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_after_a_freeze_tries_a_required_node_again() {
    let stage = stage(&with("exit", true), Peer::new("exit", EXIT).silent());
    stage.ready().await;
    sleep(secs(40)).await;
    stage.tailscaled.peer(EXIT, Peer::switch_on);
    stage.freeze(secs(60));
    let _ = stage.available(secs(0)).await;
    sleep(ms(100)).await;
    assert_eq!(stage.available(secs(0)).await, Ok(()));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn the_node_stays_in_use_through_repairs_and_is_selected_again_after_a_new_login() {
    let stage = stage(&with("exit", true), Peer::new("exit", EXIT));
    stage.ready().await;
    sleep(secs(20)).await;
    stage.verify(PEER).await.unwrap();
    stage.freeze(secs(30));
    stage.tailscaled.kill_links();
    stage.verify(PEER).await.unwrap();
    sleep(secs(1)).await;
    assert!(stage.route(OUTSIDE).await.is_ok());
    assert_eq!(stage.tailscaled.count("ExitNodeID"), 1);
    stage.tailscaled.print_removal();
    sleep(ms(60)).await;
    assert!(stage.route(OUTSIDE).await.is_ok());
    assert_eq!(stage.tailscaled.count("ExitNodeID"), 2);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_left_the_tailnet_is_reported_if_it_is_required() {
    for (required, expected) in [
        (true, "ExitNodeUnavailable"),
        (false, "203.0.113.7 is not in the tailnet"),
    ] {
        let stage = stage(&with("exit", required), Peer::new("exit", EXIT));
        stage.ready().await;
        assert!(stage.route(OUTSIDE).await.is_ok());
        stage.tailscaled.notify(r#"{"PeersRemoved":[2]}"#);
        sleep(ms(1)).await;
        for told in [
            code(stage.route(OUTSIDE).await),
            code(stage.verify(OUTSIDE.parse().unwrap()).await),
        ] {
            assert!(told.starts_with(expected), "{told}");
        }
        assert!(stage.route("db").await.is_ok());
        stage.end(Ending::Shutdown).await;
    }
}
