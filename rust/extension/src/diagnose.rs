//! A diagnosis: how the function stands in the tailnet, and how it reaches a host.

use std::{net::IpAddr, time::Duration};

use tailnet::{
    connect::{RouteError, Router},
    diagnosis::{Diagnosis, Machine, Peer, Refusal, Way},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    localapi::{
        client::Ping,
        status::{MachineStatus, StatusReport},
    },
    preflight::Preflight,
};

/// How long the peer may take to answer.
const PING_LIMIT: Duration = Duration::from_secs(3);

/// Finds out how the function stands in the tailnet, and how it reaches `host`. It waits for a login under way, until
/// `deadline`.
pub async fn diagnose(preflight: &Preflight, host: &str, deadline: Instant) -> Diagnosis {
    let running = preflight.tailnet().wait_until_running(deadline).await;
    let (way, address) = match &running {
        Ok(_) => way(preflight, host, deadline).await,
        Err(_) => (None, None),
    };
    // After the ping, which finds the path.
    let answers = match address {
        Some(address) => {
            let ping = preflight.api().ping(address, Ping::Disco);
            let until = deadline.min(Instant::now() + PING_LIMIT);
            matches!(timeout_at(until, ping).await, Ok(Ok(())))
        }
        None => false,
    };
    let status = preflight.api().status().await;
    let peer = match (&status, address) {
        (Ok(status), Some(address)) => peer(status, address).map(|peer| Peer {
            answers,
            round_trip_us: preflight
                .round_trip(address)
                .and_then(|time| u64::try_from(time.as_micros()).ok()),
            ..peer
        }),
        _ => None,
    };
    Diagnosis {
        key: preflight.key_kind(),
        trouble: running.err().map(|unavailable| unavailable.to_string()),
        machine: status.ok().map(machine),
        way: way.map(|way| Way { peer, ..way }),
    }
}

/// The way to `host`, and the address of the peer that it begins with.
async fn way(preflight: &Preflight, host: &str, deadline: Instant) -> (Option<Way>, Option<IpAddr>) {
    match preflight.route(host, deadline).await {
        Ok(route) => {
            let peer = route
                .addresses
                .first()
                .and_then(|address| preflight.address_of_peer(*address));
            let way = Way {
                covered: route.sources.is_some(),
                addresses: route.addresses,
                refusal: None,
                peer: None,
            };
            (Some(way), peer)
        }
        Err(error) => {
            let way = Way {
                refusal: Some(refusal(error)),
                ..Way::default()
            };
            (Some(way), None)
        }
    }
}

fn refusal(error: RouteError) -> Refusal {
    match error {
        RouteError::NotAllowed(message) => Refusal::NotAllowed(message),
        RouteError::UnknownName(message) => Refusal::UnknownName(message),
        RouteError::Unavailable { .. } => Refusal::Unavailable(error.to_string()),
    }
}

fn machine(status: StatusReport) -> Machine {
    let StatusReport { own, health, .. } = status;
    Machine {
        name: name(&own),
        addresses: own.addresses,
        tags: own.tags,
        derp_region: own.relay,
        key_expiry: own.key_expiry,
        health,
    }
}

fn peer(status: &StatusReport, address: IpAddr) -> Option<Peer> {
    let peer = status.peers.values().find(|peer| peer.addresses.contains(&address))?;
    Some(Peer {
        name: name(peer),
        online: peer.online,
        direct: Some(peer.cur_addr.clone()).filter(|address| !address.is_empty()),
        derp_region: peer.relay.clone(),
        answers: false,
        round_trip_us: None,
    })
}

fn name(machine: &MachineStatus) -> String {
    machine.dns_name.trim_end_matches('.').to_owned()
}
