//! Which addresses may be dialled: pure rules over the netmap.
//!
//! tailscaled dials whatever no peer covers through the function's own network, with all that the request carries, and
//! hands connections to this machine's own tailnet addresses to the function's loopback.

use std::net::IpAddr;

use crate::localapi::netmap::Netmap;

/// The service addresses of every node: they lead back into tailscaled.
const SERVICE: [&str; 2] = ["100.100.100.100", "fd7a:115c:a1e0::53"];

/// Whether targets that no peer, route or exit node covers may be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncovered {
    /// They are refused.
    Refuse,
    /// They are dialled through the function's own network.
    Allow,
}

/// The addresses of a host that may be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    /// In the order to try; not empty.
    pub addresses: Vec<IpAddr>,
    /// Whether the tailnet covers them.
    pub covered: bool,
}

/// Prefers addresses that the tailnet covers. Falls back to the others if `uncovered` allows; otherwise returns why the
/// first one was refused.
pub fn permitted_addresses(candidates: &[IpAddr], netmap: &Netmap, uncovered: Uncovered) -> Result<Permitted, String> {
    let permitted = |uncovered, covered| {
        let addresses = filter(candidates, netmap, uncovered)?;
        Ok(Permitted { addresses, covered })
    };
    match permitted(Uncovered::Refuse, true) {
        Err(_) if uncovered == Uncovered::Allow => permitted(Uncovered::Allow, false),
        result => result,
    }
}

fn filter(candidates: &[IpAddr], netmap: &Netmap, uncovered: Uncovered) -> Result<Vec<IpAddr>, String> {
    let mut refusal = None;
    let mut addresses = Vec::new();
    for address in candidates.iter().map(IpAddr::to_canonical) {
        match check(address, netmap, uncovered) {
            Ok(()) => addresses.push(address),
            Err(reason) => refusal = refusal.or(Some(reason)),
        }
    }
    match refusal {
        Some(reason) if addresses.is_empty() => Err(reason),
        _ => Ok(addresses),
    }
}

fn check(address: IpAddr, netmap: &Netmap, uncovered: Uncovered) -> Result<(), String> {
    if netmap.own_addresses().contains(&address) {
        return Err(format!("{address} is the function's own address in the tailnet"));
    }
    if SERVICE.iter().any(|service| service.parse() == Ok(address)) {
        return Err(format!("{address} is Tailscale's own service address"));
    }
    if let Some(kind) = local_kind(address) {
        return Err(format!("{address} is {kind}: it does not lead into the tailnet"));
    }
    if uncovered == Uncovered::Allow || netmap.peer_for(address).is_some() {
        return Ok(());
    }
    Err(format!(
        "{address} is not in the tailnet: no peer, no accepted subnet route and no exit node in use covers it"
    ))
}

fn local_kind(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    match address {
        _ if address.is_loopback() => Some("a loopback address"),
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if link_local => Some("a link-local address"),
        _ if address.is_multicast() => Some("a multicast address"),
        IpAddr::V4(address) if address.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(address) if address.octets()[0] == 0 => Some("an address of this host (0.0.0.0/8)"),
        // RFC 4291 section 2.5.5.1: `::127.0.0.1` was an IPv4 address once, and to some stacks it may still be.
        IpAddr::V6(address) if address.octets()[..12] == [0; 12] => Some("an IPv4-compatible IPv6 address"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::localapi::netmap::tests::netmap;

    const STATUS: &str = r#"{"Self":{"TailscaleIPs":["100.64.0.1","fd7a:115c:a1e0::1"]},
        "Peer":{"nodekey:a":{"NodeID":1,"TailscaleIPs":["100.64.0.2"],"AllowedIPs":["100.64.0.2/32","10.1.0.0/16"]},
                "nodekey:b":{"NodeID":2,"ID":"nB","TailscaleIPs":["100.64.0.3"],"AllowedIPs":["100.64.0.3/32","0.0.0.0/0","::/0"]}}}"#;

    fn permitted(netmap: &Netmap, candidates: &[&str], uncovered: Uncovered) -> Result<(Vec<String>, bool), String> {
        let candidates: Vec<IpAddr> = candidates.iter().map(|address| address.parse().unwrap()).collect();
        let permitted = permitted_addresses(&candidates, netmap, uncovered)?;
        let addresses = permitted.addresses.iter().map(IpAddr::to_string).collect();
        Ok((addresses, permitted.covered))
    }

    #[test]
    fn peers_and_accepted_routes_are_in_the_tailnet() {
        for address in ["100.64.0.2", "10.1.2.3", "::ffff:10.1.2.3", "100.64.0.3"] {
            let permitted = permitted(&netmap(STATUS), &[address], Uncovered::Refuse);
            assert!(permitted.is_ok_and(|(_, covered)| covered), "{address}");
        }
    }

    #[test]
    fn uncovered_addresses_are_refused_unless_they_are_allowed_or_an_exit_node_covers_them() {
        let mut netmap = netmap(STATUS);
        for address in ["10.2.0.1", "203.0.113.7", "100.64.0.9", "2001:db8::1"] {
            let refusal = permitted(&netmap, &[address], Uncovered::Refuse).unwrap_err();
            assert!(refusal.contains("not in the tailnet"), "{refusal}");
            assert_eq!(
                permitted(&netmap, &[address], Uncovered::Allow),
                Ok((vec![address.to_owned()], false))
            );
        }
        netmap.set_exit_node(Some("nB".into()));
        assert!(permitted(&netmap, &["203.0.113.7"], Uncovered::Refuse).is_ok());
    }

    #[test]
    fn the_function_itself_is_never_a_target() {
        let mut netmap = netmap(STATUS);
        netmap.set_exit_node(Some("nB".into()));
        for address in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "0.0.0.0",
            "::",
            "0.1.2.3",
            "169.254.100.1",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "100.64.0.1",
            "fd7a:115c:a1e0::1",
            "100.100.100.100",
            "fd7a:115c:a1e0::53",
            "::ffff:100.64.0.1",
        ] {
            for uncovered in [Uncovered::Refuse, Uncovered::Allow] {
                assert!(permitted(&netmap, &[address], uncovered).is_err(), "{address}");
            }
        }
    }

    #[test]
    fn covered_addresses_come_first_and_alone() {
        let (inside, outside) = ("100.64.0.2", "203.0.113.7");
        for uncovered in [Uncovered::Refuse, Uncovered::Allow] {
            let permitted = permitted(&netmap(STATUS), &[outside, inside], uncovered);
            assert_eq!(permitted, Ok((vec![inside.to_owned()], true)));
        }
        let permitted = permitted(&netmap(STATUS), &["127.0.0.1", outside], Uncovered::Allow);
        assert_eq!(permitted, Ok((vec![outside.to_owned()], false)));
    }
}
