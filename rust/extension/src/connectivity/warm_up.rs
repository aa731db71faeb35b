//! Which peers are greeted while tailscaled logs in, so that the first request finds a path to them.

use std::net::IpAddr;

use crate::localapi::netmap::Netmap;

/// How many peers are greeted at most.
const MAX_GREETED: usize = 8;

/// The peers to greet: those that were asked for before this login, and the likely targets; then, where there is room, one
/// peer of each DERP region that peers are home in, and other peers. Only such as the control server has connected.
pub(crate) fn choose(netmap: &Netmap, hostname: &str, recent: &[IpAddr], likely: &[IpAddr]) -> Vec<IpAddr> {
    let mut chosen: Vec<IpAddr> = Vec::new();
    let mut regions: Vec<&str> = Vec::new();
    let wanted = recent.iter().chain(likely);
    for address in wanted {
        if let Some(peer) = netmap.peer_for(*address)
            && peer.online
            && chosen.len() < MAX_GREETED
            && !chosen.contains(address)
        {
            chosen.push(*address);
            regions.push(&peer.home_derp);
        }
    }
    // In a large tailnet nobody knows who will be asked for: a connection to each DERP region is what helps.
    let few = netmap.len() <= MAX_GREETED;
    for peer in netmap
        .peers()
        .filter(|peer| peer.online && !is_sibling(&peer.name, hostname))
    {
        if chosen.len() == MAX_GREETED {
            break;
        }
        if let Some(address) = peer.addresses.first()
            && !chosen.contains(address)
            && (few || !regions.contains(&peer.home_derp.as_str()))
        {
            chosen.push(*address);
            regions.push(&peer.home_derp);
        }
    }
    chosen
}

/// One address each of the peers that should answer a ping: connected to the control server, and not of this function.
pub(crate) fn reachable<'a>(netmap: &'a Netmap, hostname: &'a str) -> impl Iterator<Item = IpAddr> + 'a {
    let peers = netmap
        .peers()
        .filter(move |peer| peer.online && !is_sibling(&peer.name, hostname));
    peers.filter_map(|peer| peer.addresses.first().copied())
}

/// Whether this is a machine of the same function: Tailscale makes names unique by a number (`proxy-1`), Headscale by eight
/// random letters and digits (`proxy-x3k9q2aa`).
fn is_sibling(name: &str, hostname: &str) -> bool {
    let label = name.split('.').next().unwrap_or(name);
    match label.strip_prefix(hostname) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|end| {
            let digits = end.bytes().filter(u8::is_ascii_digit).count();
            digits > 0 && (digits == end.len() || end.len() == 8)
        }),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::localapi::netmap::tests::netmap;

    /// `count` peers, from 100.64.1.1 on; every other one is online, and they are home in three regions.
    fn tailnet(count: u8) -> Netmap {
        let peers: Vec<String> = (1..=count)
            .map(|number| {
                let (online, region) = (number % 2 == 1, number % 3);
                format!(
                    r#""nodekey:{number}":{{"NodeID":{number},"DNSName":"m{number}.tail.net.","TailscaleIPs":["100.64.1.{number}"],
                       "AllowedIPs":["100.64.1.{number}/32"],"Online":{online},"Relay":"r{region}"}}"#
                )
            })
            .collect();
        netmap(&format!(
            r#"{{"Self":{{"DNSName":"proxy.tail.net."}},"Peer":{{{}}}}}"#,
            peers.join(",")
        ))
    }

    #[test]
    fn in_a_small_tailnet_all_that_are_online_are_greeted() {
        let mut chosen = choose(&tailnet(6), "proxy", &[], &[]);
        chosen.sort_unstable();
        assert_eq!(chosen, [1, 3, 5].map(|last| IpAddr::from([100, 64, 1, last])));
    }

    #[test]
    fn in_a_large_one_it_is_the_likely_targets_and_one_of_each_region() {
        let likely = [IpAddr::from([100, 64, 1, 9]), IpAddr::from([100, 64, 1, 2])];
        let chosen = choose(&tailnet(200), "proxy", &[IpAddr::from([100, 64, 1, 11])], &likely);
        assert_eq!(chosen[..2], [11, 9].map(|last| IpAddr::from([100, 64, 1, last])));
        assert_eq!(chosen.len(), 3, "{chosen:?}");
    }

    #[test]
    fn machines_of_the_same_function_are_told_by_their_names() {
        for name in ["proxy.tail.net", "proxy-1.tail.net", "proxy-x3k9q2aa.tail.net", "proxy"] {
            assert!(is_sibling(name, "proxy"), "{name}");
        }
        for name in [
            "proxy2.tail.net",
            "proxy-.tail.net",
            "proxy-database.tail.net",
            "db.tail.net",
            "pro.tail.net",
            "",
        ] {
            assert!(!is_sibling(name, "proxy"), "{name}");
        }
    }
}
