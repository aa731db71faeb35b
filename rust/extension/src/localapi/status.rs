//! What `GET /localapi/v0/status` says (ipnstate.Status), as far as a diagnosis tells it.

use std::{collections::HashMap, net::IpAddr};

use serde::Deserialize;

use crate::localapi::netmap::null_as_default;

/// This machine and its peers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct StatusReport {
    /// This machine.
    #[serde(rename = "Self", deserialize_with = "null_as_default")]
    pub own: MachineStatus,
    /// What is wrong, in tailscaled's words.
    #[serde(deserialize_with = "null_as_default")]
    pub health: Vec<String>,
    /// The peers, by their node keys.
    #[serde(rename = "Peer", deserialize_with = "null_as_default")]
    pub peers: HashMap<String, MachineStatus>,
}

/// One machine.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MachineStatus {
    /// Its name, with a dot at the end.
    #[serde(rename = "DNSName")]
    pub dns_name: String,
    /// Its addresses.
    #[serde(rename = "TailscaleIPs", deserialize_with = "null_as_default")]
    pub addresses: Vec<IpAddr>,
    /// Its tags.
    #[serde(deserialize_with = "null_as_default")]
    pub tags: Vec<String>,
    /// The code of the DERP region that it is home in.
    pub relay: String,
    /// The address that packets travel to directly; empty if they do not.
    pub cur_addr: String,
    /// Whether the control server has it connected.
    pub online: bool,
    /// When its key expires.
    pub key_expiry: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nulls_are_empty() {
        let report: StatusReport = serde_json::from_str(
            r#"{"Self":{"DNSName":"proxy.tail.net.","TailscaleIPs":["100.64.0.7"],"Relay":"nyc","Tags":null},
                "Health":null,"Peer":{"nodekey:1":{"CurAddr":"192.0.2.1:41641","Online":true}}}"#,
        )
        .unwrap();
        assert_eq!(
            (report.own.relay.as_str(), report.own.tags.len(), report.health.len()),
            ("nyc", 0, 0)
        );
        assert_eq!(report.peers["nodekey:1"].cur_addr, "192.0.2.1:41641");
        assert!(serde_json::from_str::<StatusReport>(r#"{"Self":null,"Peer":null}"#).is_ok());
    }
}
