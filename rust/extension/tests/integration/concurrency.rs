//! Many requests at a time: they share probes, and none waits for another's peer.

use std::net::IpAddr;

use tailnet::connect::Router;
use tokio::time::{Instant, sleep};

use crate::{
    fake_tailscaled::{Counts, PEER, Peer, Plan},
    stage::{Ending, Stage, code, ms, secs},
};

const HUNG: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(100, 64, 0, 9));

#[tokio::test(start_paused = true)]
async fn requests_for_one_address_share_one_probe() {
    let stage = Stage::joined(Plan::default()).await;
    let pings = stage.tailscaled.pings(PEER);
    stage.freeze(secs(30));
    let path = stage.preflight.path();
    let requests: Vec<_> = (0..200).map(|_| stage.verifying(PEER)).collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), Ok(path));
    }
    assert_eq!(stage.tailscaled.pings(PEER), (pings.0 + 1, pings.1 + 1));
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn requests_for_one_address_share_one_repair() {
    for (gap, expected) in [(5, Counts::MILD_STEP), (30, Counts::STRONG_STEP)] {
        let stage = Stage::joined(Plan::default()).await;
        let path = stage.preflight.path();
        let counts = stage
            .steps_of(async {
                stage.freeze(secs(gap));
                stage.tailscaled.kill_links();
                let requests: Vec<_> = (0..200).map(|_| stage.verifying(PEER)).collect();
                for request in requests {
                    assert!(request.await.unwrap().unwrap() > path);
                }
            })
            .await;
        assert_eq!(counts, expected, "after {gap} s");
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_for_many_addresses_after_a_freeze_share_one_repair() {
    let addresses: Vec<IpAddr> = (10..20).map(|last| IpAddr::from([100, 64, 0, last])).collect();
    let peers = addresses
        .iter()
        .map(|address| Peer::new(&format!("m{}", address), *address));
    let peers: Vec<Peer> = peers
        .map(|peer| Peer {
            name: peer.name.replace('.', "-"),
            ..peer
        })
        .collect();
    for (gap, expected) in [(5, Counts::MILD_STEP), (30, Counts::STRONG_STEP)] {
        let stage = Stage::joined(Plan::with_peers(peers.clone())).await;
        for address in &addresses {
            stage.verify(*address).await.unwrap();
        }
        let path = stage.preflight.path();
        let counts = stage
            .steps_of(async {
                stage.freeze(secs(gap));
                stage.tailscaled.kill_links();
                let requests: Vec<_> = addresses.iter().map(|address| stage.verifying(*address)).collect();
                for request in requests {
                    assert!(request.await.unwrap().unwrap() > path);
                }
            })
            .await;
        assert_eq!(counts, expected, "after {gap} s");
        stage.end(Ending::Shutdown).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_delays_nobody_else_and_its_pings_are_bounded() {
    let plan = Plan::with_peers([Peer::new("db", PEER), Peer::new("hung", HUNG).silent()]);
    let stage = Stage::new(plan);
    stage.ready().await;
    for _ in 0..50 {
        let hung = stage.verifying(HUNG);
        let routing = tokio::spawn({
            let preflight = stage.preflight.clone();
            async move { preflight.route("hung", Instant::now() + secs(5)).await }
        });
        let began = Instant::now();
        stage.route("db").await.unwrap();
        stage.verify(PEER).await.unwrap();
        assert!(began.elapsed() <= ms(40), "{:?}", began.elapsed());
        sleep(ms(100)).await;
        drop((hung, routing));
    }
    let most = stage.tailscaled.max_in_flight();
    assert!(most <= 20, "{most} pings of one peer at a time");
    sleep(secs(60)).await;
    assert_eq!(stage.tailscaled.in_flight(HUNG), 0, "pings are left behind");
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_at_its_deadline_and_its_probe_goes_on() {
    let stage = Stage::joined(Plan::with_peers([Peer::new("db", PEER).at(ms(300))])).await;
    stage.freeze(secs(30));
    stage.tailscaled.kill_links();
    let path = stage.preflight.path();
    let began = Instant::now();
    stage.preflight.verify(PEER, began + ms(100)).await.unwrap();
    assert_eq!(began.elapsed(), ms(100));
    sleep(secs(2)).await;
    assert!(stage.preflight.path() > path, "the repair went on");
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_tailscaled_that_does_not_respond_is_reported_and_replaced() {
    let stage = Stage::joined(Plan::default()).await;
    stage.freeze(secs(30));
    stage.tailscaled.plan(|plan| plan.hung = vec!["/localapi"]);
    let began = Instant::now();
    assert_eq!(code(stage.verify(PEER).await), "TailscaledFailed");
    assert!(began.elapsed() <= ms(2500), "{:?}", began.elapsed());
    stage.tailscaled.plan(|plan| plan.hung = vec![]);
    stage.tailscaled.plan(|plan| plan.hung = vec!["prefs"]);
    sleep(secs(5)).await;
    stage.tailscaled.plan(|plan| plan.hung.clear());
    assert_eq!(stage.available(secs(5)).await, Ok(()));
    assert_eq!(stage.tailscaled.starts().len(), 2);
    stage.end(Ending::Shutdown).await;
}
