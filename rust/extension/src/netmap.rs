//! What of the world belongs to the tailnet: peers, accepted routes, the exit node; and what is the function itself.

use std::{collections::HashMap, net::IpAddr};

use ipnet::IpNet;
use serde::Deserialize;

use crate::exit_node::Candidate;

/// The service addresses of every node: they lead back into the function's own daemon.
const SERVICE: [&str; 2] = ["100.100.100.100", "fd7a:115c:a1e0::53"];

/// The daemon's status (ipnstate.Status), as far as it matters here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Netmap {
    #[serde(rename = "TailscaleIPs", deserialize_with = "null_as_default")]
    own_addresses: Vec<IpAddr>,
    #[serde(rename = "MagicDNSSuffix")]
    suffix: String,
    #[serde(rename = "Self", deserialize_with = "null_as_default")]
    own: Own,
    #[serde(rename = "Peer", deserialize_with = "null_as_default")]
    peers: HashMap<String, Peer>,
}

/// The machine itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Own {
    /// The control server has answered the poll that is under way.
    online: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Peer {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "DNSName")]
    name: String,
    #[serde(rename = "TailscaleIPs", deserialize_with = "null_as_default")]
    addresses: Vec<IpAddr>,
    /// The control server has it connected.
    online: bool,
    #[serde(rename = "AllowedIPs", deserialize_with = "null_as_default")]
    allowed: Vec<IpNet>,
    /// It is the exit node in use.
    exit_node: bool,
}

/// Go writes an empty list or map as null.
fn null_as_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(input: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// What becomes of targets that no peer, route or exit node covers: tailscaled would dial them through the function's
/// own network, with all that the request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncovered {
    /// They are refused.
    Refuse,
    /// They are let through: the owner of the function wants it so.
    Allow,
}

impl Netmap {
    /// Reads the LocalAPI's status.
    pub fn parse(status: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(status)
    }

    /// Whether a connection to `address` stays in the tailnet and does not come back to the function; if not, why.
    ///
    /// tailscaled dials whatever no peer covers through the function's own network, and hands connections to the
    /// node's own addresses to the function's loopback.
    pub fn check(&self, address: IpAddr, uncovered: Uncovered) -> Result<(), String> {
        let address = address.to_canonical();
        if self.own_addresses.contains(&address) {
            return Err(format!("{address} is the function's own address in the tailnet"));
        }
        if SERVICE.iter().any(|service| service.parse() == Ok(address)) {
            return Err(format!("{address} is Tailscale's own service address"));
        }
        if let Some(kind) = local_kind(address) {
            return Err(format!("{address} is {kind}: it does not lead into the tailnet"));
        }
        if uncovered == Uncovered::Allow || self.peers.values().any(|peer| peer.covers(address)) {
            return Ok(());
        }
        Err(format!(
            "{address} is not in the tailnet: no peer, no accepted subnet route and no exit node in use covers it"
        ))
    }

    /// Where a connection into the tailnet comes from.
    pub fn own_addresses(&self) -> &[IpAddr] {
        &self.own_addresses
    }

    /// Whether the control server knows this machine, as far as the daemon has heard.
    pub fn in_touch(&self) -> bool {
        self.own.online
    }

    /// One address each of the peers that the control server has connected.
    pub fn online_peers(&self) -> impl Iterator<Item = IpAddr> {
        self.peers
            .values()
            .filter(|peer| peer.online)
            .filter_map(|peer| peer.addresses.first().copied())
    }

    /// The peer with this address or name, if it offers to be an exit node; if not, why it cannot be one.
    pub fn exit_candidate(&self, node: &str) -> Result<Candidate, String> {
        let address: Option<IpAddr> = node.parse().ok();
        let wanted = |peer: &&Peer| match address {
            Some(address) => peer.addresses.contains(&address),
            None => peer.is_called(node),
        };
        let Some(peer) = self.peers.values().find(wanted) else {
            return Err(
                "the tailnet has no machine with this address or name, or does not let the function see it".into(),
            );
        };
        if !peer.allowed.iter().any(|route| route.prefix_len() == 0) {
            return Err("this machine does not offer to be an exit node, or is not approved as one".into());
        }
        let address = address.or_else(|| peer.addresses.first().copied());
        Ok(Candidate {
            id: peer.id.clone(),
            address: address.ok_or("this machine has no address")?,
        })
    }

    /// A short name with the tailnet's suffix; other names as they are.
    pub fn qualified(&self, name: &str) -> String {
        if name.contains('.') || self.suffix.is_empty() {
            return name.to_owned();
        }
        format!("{name}.{}", self.suffix)
    }
}

impl Peer {
    /// Names are alike in upper and lower case; the full one may end with a dot.
    fn is_called(&self, name: &str) -> bool {
        let full = self.name.trim_end_matches('.');
        let short = full.split('.').next().unwrap_or(full);
        [full, short]
            .iter()
            .any(|own| own.eq_ignore_ascii_case(name.trim_end_matches('.')))
    }

    fn covers(&self, address: IpAddr) -> bool {
        // Every node that offers to be an exit node has the default routes; only the one in use takes them.
        self.allowed
            .iter()
            .any(|route| route.contains(&address) && (route.prefix_len() > 0 || self.exit_node))
    }
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

    const STATUS: &str = r#"{"Version":"1.102.4","TailscaleIPs":["100.64.0.1","fd7a:115c:a1e0::1"],"MagicDNSSuffix":"tail.net",
        "Peer":{"nodekey:a":{"HostName":"target","TailscaleIPs":["100.64.0.2"],"AllowedIPs":["100.64.0.2/32","10.1.0.0/16"],"ExitNode":false},
                "nodekey:b":{"AllowedIPs":["100.64.0.3/32","0.0.0.0/0","::/0"],"ExitNode":false},
                "nodekey:c":{"AllowedIPs":null}}}"#;

    fn check(status: &str, address: &str) -> Result<(), String> {
        Netmap::parse(status.as_bytes())
            .unwrap()
            .check(address.parse().unwrap(), Uncovered::Refuse)
    }

    #[test]
    fn peers_and_accepted_routes_are_in_the_tailnet() {
        for address in ["100.64.0.2", "10.1.2.3", "::ffff:10.1.2.3", "100.64.0.3"] {
            assert_eq!(check(STATUS, address), Ok(()), "{address}");
        }
    }

    #[test]
    fn what_nobody_covers_is_not() {
        for address in ["10.2.0.1", "203.0.113.7", "100.64.0.9", "2001:db8::1"] {
            assert!(
                check(STATUS, address).unwrap_err().contains("not in the tailnet"),
                "{address}"
            );
        }
    }

    #[test]
    fn the_exit_node_in_use_or_the_owners_word_opens_the_rest_but_never_the_function() {
        let status = STATUS.replace(r#""::/0"],"ExitNode":false"#, r#""::/0"],"ExitNode":true"#);
        assert_eq!(check(&status, "203.0.113.7"), Ok(()));
        let allowing = Netmap::parse(STATUS.as_bytes()).unwrap();
        assert_eq!(allowing.check("203.0.113.7".parse().unwrap(), Uncovered::Allow), Ok(()));
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
            assert!(check(&status, address).is_err(), "{address}");
            let address = address.parse().unwrap();
            assert!(allowing.check(address, Uncovered::Allow).is_err(), "{address}");
        }
    }

    #[test]
    fn an_exit_node_is_found_by_address_and_by_name_if_it_offers_itself() {
        let status = STATUS.replace(
            r#""nodekey:b":{"#,
            r#""nodekey:b":{"ID":"nB","DNSName":"Exit.tail.net.","TailscaleIPs":["100.64.0.3"],"#,
        );
        let netmap = Netmap::parse(status.as_bytes()).unwrap();
        let expected = Candidate {
            id: "nB".into(),
            address: "100.64.0.3".parse().unwrap(),
        };
        for node in ["100.64.0.3", "exit", "exit.tail.net"] {
            assert_eq!(netmap.exit_candidate(node), Ok(expected.clone()), "{node}");
        }
        assert!(
            netmap
                .exit_candidate("100.64.0.2")
                .unwrap_err()
                .contains("does not offer")
        );
        assert!(netmap.exit_candidate("elsewhere").unwrap_err().contains("no machine"));
    }

    #[test]
    fn a_daemon_without_peers_is_read_too() {
        assert!(check(r#"{"TailscaleIPs":null,"Peer":null}"#, "100.64.0.2").is_err());
    }

    #[test]
    fn only_short_names_get_the_suffix() {
        let netmap = Netmap::parse(STATUS.as_bytes()).unwrap();
        assert_eq!(netmap.qualified("target"), "target.tail.net");
        assert_eq!(netmap.qualified("db.example.com"), "db.example.com");
    }
}
