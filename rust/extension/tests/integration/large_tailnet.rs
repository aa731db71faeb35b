//! A tailnet of 5,000 peers: a request costs what it costs in a small one.

use std::net::IpAddr;

use tokio::time::sleep;

use crate::{
    fake_tailscaled::{PEER, Peer, Plan},
    stage::{Ending, Stage, secs},
};

fn peers() -> Vec<Peer> {
    let others = (0..5000_u32).map(|number| {
        let [_, _, high, low] = number.to_be_bytes();
        let address = IpAddr::from([100, 70, high, low]);
        Peer {
            online: number % 10 == 0,
            ..Peer::new(&format!("m{number}"), address).silent()
        }
    });
    std::iter::once(Peer::new("db", PEER)).chain(others).collect()
}

#[tokio::test(start_paused = true)]
async fn a_route_to_an_address_or_a_machine_by_name_makes_no_call() {
    let stage = Stage::joined(Plan::with_peers(peers())).await;
    let calls = stage.tailscaled.calls().len();
    for host in [
        "db",
        "db.tail.net",
        "DB.tail.net.",
        "m4999",
        "100.64.0.2",
        "100.70.19.135",
    ] {
        assert_eq!(stage.route(host).await.unwrap().addresses.len(), 1, "{host}");
    }
    assert!(stage.route("203.0.113.7").await.is_err());
    assert_eq!(stage.tailscaled.calls()[calls..], [] as [String; 0]);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_peer_is_known_before_the_next_request() {
    let stage = Stage::joined(Plan::with_peers(peers())).await;
    let calls = stage.tailscaled.calls().len();
    stage.tailscaled.notify(
        r#"{"PeersChanged":[{"ID":90000,"StableID":"nNew","Name":"new.tail.net.","Addresses":["100.71.0.1/32"],"Online":true}]}"#,
    );
    stage.tailscaled.notify(r#"{"PeersRemoved":[5001]}"#);
    sleep(secs(1)).await;
    let added: IpAddr = "100.71.0.1".parse().unwrap();
    assert_eq!(stage.route("new").await.unwrap().addresses, [added]);
    assert!(stage.route("100.70.19.135").await.is_err(), "it was removed");
    assert_eq!(stage.tailscaled.calls().len(), calls);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn few_peers_are_pinged_during_the_login() {
    let stage = Stage::new(Plan::with_peers(peers()));
    stage.ready().await;
    sleep(secs(60)).await;
    let greeted: std::collections::HashSet<String> = stage
        .tailscaled
        .calls()
        .iter()
        .filter_map(|call| Some(call.split_once("ping?ip=")?.1.split_once('&')?.0.to_owned()))
        .collect();
    assert!(greeted.len() <= 8, "{greeted:?}");
    stage.end(Ending::Shutdown).await;
}
