//! Names that are not machines': the tailnet's resolver knows them, or not.

use std::net::{IpAddr, Ipv4Addr};

use tailnet::connect::{RouteError, Router};
use tokio::time::Instant;

use crate::{
    fake_tailscaled::{PEER, Peer, Plan},
    stage::{Ending, Stage, code, ms, secs},
};

const TARGET: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);

fn plan() -> Plan {
    Plan {
        names: vec![
            ("db.corp.example", TARGET),
            ("public.example", Ipv4Addr::new(203, 0, 113, 7)),
        ],
        ..Plan::with_peers([Peer::new("router", PEER).router()])
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_behind_the_tailnets_resolver_leads_to_its_addresses() {
    let stage = Stage::joined(plan()).await;
    assert_eq!(
        stage.route("db.corp.example").await.unwrap().addresses,
        [IpAddr::V4(TARGET)]
    );
    let refused = stage.route("public.example").await.unwrap_err();
    assert!(matches!(refused, RouteError::NotAllowed(_)), "{refused:?}");
    let unknown = stage.route("nothing.example").await.unwrap_err();
    assert!(matches!(unknown, RouteError::UnknownName(_)), "{unknown:?}");
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_is_silent_is_reported_by_the_deadline_and_tailscaled_stays() {
    let stage = Stage::joined(plan()).await;
    stage.tailscaled.plan(|plan| plan.hung = vec!["dns-query"]);
    for (wait, expected) in [(2, 2), (30, 4)] {
        let began = Instant::now();
        let result = stage.preflight.route("db.corp.example", began + secs(wait)).await;
        assert_eq!(code(result), "ResolverSilent");
        // The links are looked at before.
        let took = began.elapsed();
        assert!(took >= secs(expected) && took < secs(expected) + ms(50), "{took:?}");
    }
    assert!(stage.route("router").await.is_ok(), "machines are known without it");
    assert_eq!(stage.tailscaled.starts().len(), 1);
    stage.end(Ending::Shutdown).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_is_asked_for_over_links_that_are_alive() {
    let stage = Stage::joined(plan()).await;
    let path = stage.preflight.path();
    stage.freeze(secs(30));
    stage.tailscaled.kill_links();
    let route = stage.route("db.corp.example").await.unwrap();
    assert!(route.path > path, "the links were not repaired before");
    stage.end(Ending::Shutdown).await;
}
