//! The tailnet in the words of the bus: tailscaled names a peer in one way in its status and in another in its changes.

use serde_json::{Value, json};

use super::plan::{Peer, Plan};

/// The machine's own address.
const OWN: &str = "100.64.0.1";
const OWN_NAME: &str = "proxy.tail.net.";

impl Plan {
    /// `ipnstate.Status`.
    pub(super) fn status(&self, joined: bool) -> Value {
        if !joined {
            return json!({"Self": {"TailscaleIPs": null, "DNSName": ""}, "Peer": null});
        }
        let peers = self.peers.iter().zip(1..);
        let peers: serde_json::Map<String, Value> = peers
            .map(|(peer, id)| (format!("nodekey:{id}"), peer.as_status(id)))
            .collect();
        json!({"Self": {"ID": "nSelf", "DNSName": OWN_NAME, "TailscaleIPs": [OWN], "Online": true}, "Peer": peers})
    }

    /// The notification of a whole netmap: `SelfChange` with all peers in `PeersChanged`.
    pub(super) fn netmap_change(&self) -> String {
        let peers: Vec<Value> = self.peers.iter().zip(1..).map(|(peer, id)| peer.as_node(id)).collect();
        let own = json!({"ID": 1_000_000, "StableID": "nSelf", "Name": OWN_NAME, "Addresses": [format!("{OWN}/32")]});
        json!({"SelfChange": own, "PeersChanged": peers}).to_string()
    }
}

impl Peer {
    pub(super) fn stable_id(&self) -> String {
        format!("n-{}", self.name)
    }

    fn allowed(&self) -> Vec<String> {
        let own = format!("{}/32", self.address);
        std::iter::once(own)
            .chain(self.routes.iter().map(|route| (*route).to_owned()))
            .collect()
    }

    fn as_status(&self, id: u64) -> Value {
        json!({"ID": self.stable_id(), "NodeID": id, "DNSName": format!("{}.tail.net.", self.name),
            "TailscaleIPs": [self.address], "AllowedIPs": self.allowed(), "Online": self.online, "Relay": "test"})
    }

    fn as_node(&self, id: u64) -> Value {
        json!({"ID": id, "StableID": self.stable_id(), "Name": format!("{}.tail.net.", self.name),
            "Addresses": [format!("{}/32", self.address)], "AllowedIPs": self.allowed(), "Online": self.online, "HomeDERP": 1})
    }
}
