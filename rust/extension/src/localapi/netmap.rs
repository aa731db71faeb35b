//! The peers of the tailnet as tailscaled's bus reports them, indexed so that a lookup costs the same in any tailnet.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

/// A peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its stable ID, which the exit node preference names.
    pub stable_id: String,
    /// Its MagicDNS name, in lower case and without the last dot.
    pub name: String,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// What it may be sent: its addresses, and the routes through it.
    pub allowed: Vec<IpNet>,
    /// Whether the control server has it connected.
    pub online: bool,
    /// Its home DERP region.
    pub home_derp: String,
}

/// The tailnet as this machine sees it.
#[derive(Debug, Clone, Default)]
pub struct Netmap {
    own: Peer,
    peers: HashMap<u64, Peer>,
    by_address: HashMap<IpAddr, u64>,
    by_name: HashMap<String, u64>,
    /// Peers that route more than their own addresses.
    routers: HashSet<u64>,
    exit_node: Option<String>,
}

impl Netmap {
    /// This machine's addresses: a connection into the tailnet comes from one of them.
    pub fn own_addresses(&self) -> &[IpAddr] {
        &self.own.addresses
    }

    /// This machine's MagicDNS name.
    pub fn own_name(&self) -> &str {
        &self.own.name
    }

    /// The peers.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// The number of peers.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there are no peers.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The peer that a connection to `address` goes to: the owner of the address, a subnet router, or the exit node in use.
    pub fn peer_for(&self, address: IpAddr) -> Option<&Peer> {
        if let Some(id) = self.by_address.get(&address) {
            return self.peers.get(id);
        }
        let candidates = self.routers.iter().filter_map(|id| self.peers.get(id));
        let best = candidates
            .filter_map(|peer| Some((self.longest_route(peer, address)?, peer)))
            .max_by_key(|(length, _)| *length);
        best.map(|(_, peer)| peer)
    }

    /// The peer with this stable ID.
    pub fn by_stable_id(&self, id: &str) -> Option<&Peer> {
        self.peers.values().find(|peer| peer.stable_id == id)
    }

    /// Whether a connection to `address` goes through the exit node in use.
    pub fn leaves_by_exit_node(&self, address: IpAddr) -> bool {
        let peer = self.peer_for(address);
        peer.is_some_and(|peer| self.longest_route(peer, address) == Some(0))
    }

    /// Each exit node that is offered has the default routes; only the one in use takes them.
    fn longest_route(&self, peer: &Peer, address: IpAddr) -> Option<u8> {
        let in_use = self.exit_node.as_ref() == Some(&peer.stable_id);
        let routes = peer.allowed.iter().filter(|route| route.contains(&address));
        routes
            .map(IpNet::prefix_len)
            .filter(|length| *length > 0 || in_use)
            .max()
    }

    /// The addresses of a machine by its MagicDNS name, short or full, as tailscaled's resolver gives them: IPv6 only where
    /// there is no IPv4. `None`: the name is not a machine's.
    pub fn addresses_of(&self, name: &str) -> Option<Vec<IpAddr>> {
        let name = self.qualified(name);
        let peer = if name == self.own.name && !name.is_empty() {
            &self.own
        } else {
            self.peers.get(self.by_name.get(&name)?)?
        };
        let v4: Vec<IpAddr> = peer.addresses.iter().copied().filter(IpAddr::is_ipv4).collect();
        Some(if v4.is_empty() { peer.addresses.clone() } else { v4 })
    }

    /// A short name with the tailnet's suffix; other names as they are. In lower case, without the last dot.
    pub fn qualified(&self, name: &str) -> String {
        let name = canonical(name);
        match self.own.name.split_once('.') {
            Some((_, suffix)) if !name.contains('.') => format!("{name}.{suffix}"),
            _ => name,
        }
    }

    /// The peer with this address or name, as an exit node: its stable ID and address, or why it cannot be one.
    pub fn exit_candidate(&self, node: &str) -> Result<(String, IpAddr), String> {
        let id = match node.parse::<IpAddr>() {
            Ok(address) => self.by_address.get(&address),
            Err(_) => self.by_name.get(&self.qualified(node)),
        };
        let Some(peer) = id.and_then(|id| self.peers.get(id)) else {
            return Err(
                "the tailnet has no machine with this address or name, or does not let the function see it".into(),
            );
        };
        if !peer.allowed.iter().any(|route| route.prefix_len() == 0) {
            return Err("this machine does not offer to be an exit node, or is not approved as one".into());
        }
        let address = peer.addresses.first().ok_or("this machine has no address")?;
        Ok((peer.stable_id.clone(), *address))
    }

    /// Notes which exit node tailscaled uses, by its stable ID.
    pub fn set_exit_node(&mut self, id: Option<String>) {
        self.exit_node = id;
    }

    fn insert(&mut self, id: u64, peer: Peer) {
        self.remove(id);
        for address in &peer.addresses {
            self.by_address.insert(*address, id);
        }
        if !peer.name.is_empty() {
            self.by_name.insert(peer.name.clone(), id);
        }
        if peer
            .allowed
            .iter()
            .any(|route| route.prefix_len() < route.max_prefix_len())
        {
            self.routers.insert(id);
        }
        self.peers.insert(id, peer);
    }

    fn remove(&mut self, id: u64) {
        if let Some(peer) = self.peers.remove(&id) {
            for address in &peer.addresses {
                // Another peer may have taken the address over.
                if self.by_address.get(address) == Some(&id) {
                    self.by_address.remove(address);
                }
            }
            if self.by_name.get(&peer.name) == Some(&id) {
                self.by_name.remove(&peer.name);
            }
            self.routers.remove(&id);
        }
    }

    /// Applies a notification. Returns whether anything changed.
    pub fn apply(&mut self, change: NetmapChange) -> bool {
        let NetmapChange {
            initial,
            own,
            changed,
            removed,
            patches,
        } = change;
        let mut applied = false;
        if let Some(status) = initial {
            *self = status.into_netmap(self.exit_node.take());
            applied = true;
        }
        if let Some(own) = own {
            // A whole netmap: it names this machine and all peers, so what it does not name is gone.
            let exit_node = self.exit_node.take();
            *self = Self {
                own: own.into_peer(),
                exit_node,
                ..Self::default()
            };
            applied = true;
        }
        for node in changed {
            applied = true;
            self.insert(node.id, node.into_peer());
        }
        for id in removed {
            applied = true;
            self.remove(id);
        }
        for patch in patches {
            if let Some(peer) = self.peers.get_mut(&patch.node_id) {
                applied = true;
                peer.online = patch.online.unwrap_or(peer.online);
                if patch.derp_region > 0 {
                    peer.home_derp = patch.derp_region.to_string();
                }
            }
        }
        applied
    }
}

/// What a notification says of the netmap (ipn.Notify).
#[derive(Debug, Default)]
pub struct NetmapChange {
    /// The whole state, in the first notification.
    pub initial: Option<Status>,
    /// This machine. Comes with all peers in `changed`.
    pub own: Option<Node>,
    /// Peers that were added or replaced.
    pub changed: Vec<Node>,
    /// Peers that are gone.
    pub removed: Vec<u64>,
    /// Changes of single fields of peers.
    pub patches: Vec<Patch>,
}

/// ipnstate.Status, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Status {
    #[serde(rename = "Self", deserialize_with = "null_as_default")]
    own: StatusPeer,
    #[serde(rename = "Peer", deserialize_with = "null_as_default")]
    peers: HashMap<String, StatusPeer>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StatusPeer {
    #[serde(rename = "ID")]
    stable_id: String,
    #[serde(rename = "NodeID")]
    id: u64,
    #[serde(rename = "DNSName")]
    name: String,
    #[serde(rename = "TailscaleIPs", deserialize_with = "null_as_default")]
    addresses: Vec<IpAddr>,
    #[serde(rename = "AllowedIPs", deserialize_with = "null_as_default")]
    allowed: Vec<IpNet>,
    online: bool,
    relay: String,
}

impl Status {
    fn into_netmap(self, exit_node: Option<String>) -> Netmap {
        let mut netmap = Netmap {
            own: self.own.into_peer(),
            exit_node,
            ..Netmap::default()
        };
        for peer in self.peers.into_values() {
            netmap.insert(peer.id, peer.into_peer());
        }
        netmap
    }
}

impl StatusPeer {
    fn into_peer(self) -> Peer {
        Peer {
            stable_id: self.stable_id,
            name: canonical(&self.name),
            addresses: self.addresses,
            allowed: self.allowed,
            online: self.online,
            home_derp: self.relay,
        }
    }
}

/// tailcfg.Node, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Node {
    #[serde(rename = "ID")]
    id: u64,
    #[serde(rename = "StableID")]
    stable_id: String,
    name: String,
    #[serde(deserialize_with = "null_as_default")]
    addresses: Vec<IpNet>,
    /// Null stands for the node's own addresses.
    #[serde(rename = "AllowedIPs")]
    allowed: Option<Vec<IpNet>>,
    online: Option<bool>,
    #[serde(rename = "HomeDERP")]
    home_derp: u32,
    #[serde(rename = "DERP")]
    legacy_derp: String,
}

impl Node {
    fn into_peer(self) -> Peer {
        // Older servers write the region as the port of a pretended address: 127.3.3.40:N.
        let legacy = self.legacy_derp.rsplit_once(':').map(|(_, region)| region.to_owned());
        Peer {
            stable_id: self.stable_id,
            name: canonical(&self.name),
            addresses: self.addresses.iter().map(IpNet::addr).collect(),
            allowed: self.allowed.unwrap_or(self.addresses),
            online: self.online.unwrap_or_default(),
            home_derp: match self.home_derp {
                0 => legacy.unwrap_or_default(),
                region => region.to_string(),
            },
        }
    }
}

/// tailcfg.PeerChange, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Patch {
    #[serde(rename = "NodeID")]
    node_id: u64,
    #[serde(rename = "DERPRegion")]
    derp_region: u32,
    online: Option<bool>,
}

/// Names are alike in upper and lower case; a full one may end with a dot.
fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Go writes an empty list or map as null.
pub(crate) fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    input: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A netmap as the first notification brings it.
    pub(crate) fn netmap(status: &str) -> Netmap {
        let mut netmap = Netmap::default();
        netmap.apply(NetmapChange {
            initial: Some(serde_json::from_str(status).unwrap()),
            ..NetmapChange::default()
        });
        netmap
    }

    const STATUS: &str = r#"{"Self":{"DNSName":"proxy.tail.net.","TailscaleIPs":["100.64.0.1","fd7a:115c:a1e0::1"]},
        "Peer":{"nodekey:a":{"NodeID":1,"ID":"nA","DNSName":"Target.tail.net.","TailscaleIPs":["100.64.0.2","fd7a:115c:a1e0::2"],
                             "AllowedIPs":["100.64.0.2/32","fd7a:115c:a1e0::2/128","10.1.0.0/16"],"Online":true},
                "nodekey:b":{"NodeID":2,"ID":"nB","DNSName":"exit.tail.net.","TailscaleIPs":["100.64.0.3"],
                             "AllowedIPs":["100.64.0.3/32","0.0.0.0/0","::/0"]},
                "nodekey:c":{"NodeID":3,"AllowedIPs":null}}}"#;

    fn changed(nodes: &str) -> NetmapChange {
        NetmapChange {
            changed: serde_json::from_str(nodes).unwrap(),
            ..NetmapChange::default()
        }
    }

    fn peer<'a>(netmap: &'a Netmap, address: &str) -> Option<&'a str> {
        netmap
            .peer_for(address.parse().unwrap())
            .map(|peer| peer.stable_id.as_str())
    }

    #[test]
    fn an_address_leads_to_its_owner_its_router_or_the_exit_node_in_use() {
        let mut netmap = netmap(STATUS);
        assert_eq!(peer(&netmap, "100.64.0.2"), Some("nA"));
        assert_eq!(peer(&netmap, "10.1.2.3"), Some("nA"));
        assert_eq!(peer(&netmap, "203.0.113.7"), None);
        netmap.set_exit_node(Some("nB".into()));
        assert_eq!(peer(&netmap, "203.0.113.7"), Some("nB"));
        assert!(netmap.leaves_by_exit_node("203.0.113.7".parse().unwrap()));
        assert!(!netmap.leaves_by_exit_node("10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn names_are_found_short_and_full_as_the_tailnets_resolver_finds_them() {
        let netmap = netmap(STATUS);
        for name in ["target", "TARGET", "target.tail.net", "target.tail.net."] {
            assert_eq!(
                netmap.addresses_of(name),
                Some(vec!["100.64.0.2".parse().unwrap()]),
                "{name}"
            );
        }
        assert_eq!(netmap.addresses_of("db.example.com"), None);
        assert_eq!(
            netmap.addresses_of("proxy").unwrap(),
            ["100.64.0.1".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(netmap.qualified("db.example.com"), "db.example.com");
        assert_eq!(Netmap::default().addresses_of(""), None);
    }

    #[test]
    fn peers_change_go_and_come_back() {
        let mut netmap = netmap(STATUS);
        assert!(netmap.apply(changed(
            r#"[{"ID":1,"StableID":"nA","Name":"moved.tail.net.","Addresses":["100.64.0.9/32"],"AllowedIPs":null,"Online":true,"HomeDERP":7}]"#
        )));
        assert_eq!((peer(&netmap, "100.64.0.2"), peer(&netmap, "10.1.2.3")), (None, None));
        assert_eq!(peer(&netmap, "100.64.0.9"), Some("nA"));
        assert_eq!((netmap.addresses_of("target"), netmap.len()), (None, 3));
        let patch = r#"[{"NodeID":1,"Online":false,"DERPRegion":9},{"NodeID":77,"Online":true}]"#;
        netmap.apply(NetmapChange {
            patches: serde_json::from_str(patch).unwrap(),
            ..NetmapChange::default()
        });
        let moved = netmap.peer_for("100.64.0.9".parse().unwrap()).unwrap();
        assert_eq!((moved.online, moved.home_derp.as_str()), (false, "9"));
        netmap.apply(NetmapChange {
            removed: vec![1],
            ..NetmapChange::default()
        });
        assert_eq!((peer(&netmap, "100.64.0.9"), netmap.len()), (None, 2));
    }

    #[test]
    fn a_whole_netmap_leaves_nothing_of_the_last_one() {
        let mut netmap = netmap(STATUS);
        let own = r#"{"ID":9,"Name":"proxy-1.tail.net.","Addresses":["100.64.0.5/32"]}"#;
        netmap.apply(NetmapChange {
            own: Some(serde_json::from_str(own).unwrap()),
            ..changed(r#"[{"ID":4,"StableID":"nD","Name":"d.tail.net.","Addresses":["100.64.0.4/32"],"DERP":"127.3.3.40:3"}]"#)
        });
        assert_eq!((netmap.len(), netmap.own_name()), (1, "proxy-1.tail.net"));
        assert_eq!(netmap.peers().next().unwrap().home_derp, "3");
    }

    #[test]
    fn an_exit_node_is_found_by_address_and_by_name_if_it_offers_itself() {
        let netmap = netmap(STATUS);
        for node in ["100.64.0.3", "exit", "exit.tail.net"] {
            let expected = ("nB".to_owned(), "100.64.0.3".parse().unwrap());
            assert_eq!(netmap.exit_candidate(node), Ok(expected), "{node}");
        }
        assert!(netmap.exit_candidate("target").unwrap_err().contains("does not offer"));
        assert!(netmap.exit_candidate("elsewhere").unwrap_err().contains("no machine"));
    }

    #[test]
    fn a_tailscaled_without_peers_is_read_too() {
        assert!(netmap(r#"{"TailscaleIPs":null,"Self":null,"Peer":null}"#).is_empty());
    }
}
