//! What a diagnosis tells of the tailnet as the function sees it. Nothing of it is secret: no key, no token.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The function's place in the tailnet, and the way to one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// Why the function is not in the tailnet: a stable code and what fixes it. Absent if it is in the tailnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What the function logs in with. Absent while that is not known: nothing has been read yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyKind>,
    /// The machine as the tailnet knows it. Absent if tailscaled does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// The way to the host. Absent if the function is not in the tailnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<Way>,
}

/// What a function logs in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyKind {
    /// An auth key that is stored.
    AuthKey,
    /// The secret of an OAuth client, which makes a new key for each login.
    OauthClient,
    /// The function's role, for which Tailscale makes a new key for each login.
    WorkloadIdentity,
}

/// A machine of the tailnet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Its name in the tailnet.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its tags; none for a machine that belongs to a user.
    pub tags: Vec<String>,
    /// The code of the DERP region that it is home in; empty while that is not known.
    pub derp_region: String,
    /// When its key expires (RFC 3339). Absent for a key that does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_expiry: Option<String>,
    /// What tailscaled says of its health.
    pub health: Vec<String>,
}

/// The way to a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Way {
    /// The addresses that may be dialled.
    pub addresses: Vec<IpAddr>,
    /// Why there is none: what the policy or the resolver says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// Whether the tailnet covers it. What it does not cover leaves by the function's own network, where that is allowed.
    pub covered: bool,
    /// The peer that the first address leads through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
}

/// Why a host has no address to dial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "reason", content = "message")]
pub enum Refusal {
    /// The policy refuses it.
    NotAllowed(String),
    /// The tailnet's resolver does not know the name.
    UnknownName(String),
    /// The tailnet, or its resolver, does not answer.
    Unavailable(String),
}

/// A peer, and how packets travel to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its name in the tailnet.
    pub name: String,
    /// Whether the control server has it connected.
    pub online: bool,
    /// The address that packets travel to directly. Absent if they go through a DERP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<String>,
    /// The code of the DERP region that the peer is home in; empty while that is not known.
    pub derp_region: String,
    /// Whether it answered just now.
    pub answers: bool,
    /// The round trip to it, in microseconds, if one has been measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_us: Option<u64>,
}
