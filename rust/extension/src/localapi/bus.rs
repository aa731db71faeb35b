//! tailscaled's notifications: a stream of JSON lines with the state, the health and the netmap.

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;

use crate::localapi::{
    error::LocalApiError,
    netmap::{NetmapChange, Node, Patch, Status, null_as_default},
};

/// What is asked for (ipn.NotifyWatchOpt): the initial state, health and status, then changes of peers and their patches,
/// and the states of WireGuard sessions.
pub(crate) const WATCH_MASK: u32 = 1 << 1 | 1 << 7 | 1 << 14 | 1 << 12 | 1 << 15 | 1 << 18;
/// The state of a WireGuard session that both ends know.
const ESTABLISHED: &str = "established";
/// The longest line that is read: 5,000 peers take some 5 MB.
const MAX_LINE_BYTES: usize = 64 * 1024 * 1024;
/// What tailscaled's health says of a machine that Tailnet Lock shuts out (tailscale.com/health/healthmsg).
const LOCKED_OUT: &str = "this node is locked out";

/// One notification (ipn.Notify), as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Notify {
    /// tailscaled's state, when it changed.
    pub state: Option<State>,
    /// What went wrong, in tailscaled's or the control server's words.
    pub err_message: Option<String>,
    /// Where a person would have to log in: the control server accepted neither the auth key nor the node key.
    #[serde(rename = "BrowseToURL")]
    pub browse_to_url: Option<String>,
    /// The warnings, when they changed.
    pub health: Option<Health>,
    initial_status: Option<Status>,
    self_change: Option<Node>,
    #[serde(deserialize_with = "null_as_default")]
    peers_changed: Vec<Node>,
    #[serde(deserialize_with = "null_as_default")]
    peers_removed: Vec<u64>,
    #[serde(deserialize_with = "null_as_default")]
    peer_changed_patch: Vec<Patch>,
    #[serde(deserialize_with = "null_as_default")]
    peer_state: HashMap<String, PeerState>,
}

/// ipn.PeerState, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct PeerState {
    #[serde(rename = "PeerWireGuardState")]
    session: String,
}

impl Notify {
    /// The stable IDs of the peers with whom a WireGuard session has just been established.
    pub fn established_sessions(&self) -> impl Iterator<Item = &str> {
        let sessions = self.peer_state.iter();
        sessions.filter_map(|(id, state)| (state.session == ESTABLISHED).then_some(id.as_str()))
    }

    /// Takes out what it says of the netmap.
    pub fn take_netmap_change(&mut self) -> NetmapChange {
        NetmapChange {
            initial: self.initial_status.take(),
            own: self.self_change.take(),
            changed: std::mem::take(&mut self.peers_changed),
            removed: std::mem::take(&mut self.peers_removed),
            patches: std::mem::take(&mut self.peer_changed_patch),
        }
    }
}

/// tailscaled's warnings (health.State): the only place that tells of a control server that cannot be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Health {
    warnings: Option<HashMap<String, Warning>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Warning {
    text: String,
    args: Option<HashMap<String, String>>,
}

impl Health {
    /// The error of the last login, if it failed.
    pub fn login_error(&self) -> Option<&str> {
        self.warning("login-state")?
            .args
            .as_ref()?
            .get("error")
            .map(String::as_str)
    }

    /// The error of the last login, if it ended before the control server's verdict (which comes as `ErrMessage`).
    pub fn control_unreachable(&self) -> Option<&str> {
        self.login_error().filter(|error| never_reached(error))
    }

    /// Whether tailscaled sees no network.
    pub fn network_down(&self) -> bool {
        self.warning("network-status").is_some()
    }

    /// Whether Tailnet Lock shuts this machine out.
    pub fn locked_out(&self) -> bool {
        let mut warnings = self.warnings.iter().flat_map(HashMap::values);
        warnings.any(|warning| {
            let mut args = warning.args.iter().flat_map(HashMap::values);
            warning.text.contains(LOCKED_OUT) || args.any(|arg| arg.contains(LOCKED_OUT))
        })
    }

    fn warning(&self, code: &str) -> Option<&Warning> {
        self.warnings.as_ref()?.get(code)
    }
}

/// Whether this error of tailscale.com/control/controlclient tells of a control server that was not reached.
fn never_reached(error: &str) -> bool {
    // The attempt made way for another one.
    if error.contains("context canceled") {
        return false;
    }
    [
        "fetch control key",
        "register request",
        "getNoiseClient",
        "dial ",
        "context deadline",
    ]
    .iter()
    .any(|sign| error.contains(sign))
}

/// tailscaled's state (ipn.State).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "u8")]
pub enum State {
    /// Nobody is logged in.
    NeedsLogin,
    /// Logged in, but an administrator must approve the machine.
    NeedsMachineAuth,
    /// Switched off.
    Stopped,
    /// Logged in; the data plane is being set up.
    Starting,
    /// In the tailnet.
    Running,
    /// None of these.
    Other,
}

impl From<u8> for State {
    fn from(number: u8) -> Self {
        match number {
            2 => Self::NeedsLogin,
            3 => Self::NeedsMachineAuth,
            4 => Self::Stopped,
            5 => Self::Starting,
            6 => Self::Running,
            _ => Self::Other,
        }
    }
}

/// The stream of notifications.
pub struct Bus {
    body: Incoming,
    buffer: BytesMut,
}

impl Bus {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
        }
    }

    /// The next notification; `None` when tailscaled has closed the stream.
    pub async fn next(&mut self) -> Result<Option<Notify>, LocalApiError> {
        let malformed = |detail: String| LocalApiError::Malformed {
            path: "/localapi/v0/watch-ipn-bus".to_owned(),
            detail,
        };
        loop {
            if let Some(line) = take_line(&mut self.buffer) {
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| malformed(error.to_string()));
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                return Err(malformed(format!(
                    "a notification is longer than {MAX_LINE_BYTES} bytes"
                )));
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None => return Ok(None),
            }
        }
    }
}

fn take_line(buffer: &mut BytesMut) -> Option<Bytes> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let line = buffer.split_to(end).freeze();
    buffer.advance(1);
    Some(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_notification_is_read() {
        let line =
            r#"{"Version":"1.102.5","SessionID":"x","ErrMessage":null,"LoginFinished":null,"State":2,"Prefs":null}"#;
        assert_eq!(
            serde_json::from_str::<Notify>(line).unwrap().state,
            Some(State::NeedsLogin)
        );
        let line =
            r#"{"Version":"1.102.5","ErrMessage":"invalid pre auth key","NetMap":null,"BrowseToURL":"http://a"}"#;
        let notify: Notify = serde_json::from_str(line).unwrap();
        assert_eq!(notify.err_message.as_deref(), Some("invalid pre auth key"));
        assert_eq!(notify.browse_to_url.as_deref(), Some("http://a"));
    }

    #[test]
    fn a_failed_login_shows_in_the_health() {
        let line = r#"{"State":null,"Health":{"Warnings":{"login-state":{"WarnableCode":"login-state","Text":"You are logged out.",
            "Args":{"error":"fetch control key: dial tcp 192.0.2.2:8080: connect: connection refused"}}}}}"#;
        let health = serde_json::from_str::<Notify>(line).unwrap().health.unwrap();
        assert!(health.login_error().unwrap().ends_with("connection refused"));
        assert!(!health.network_down());
        let health: Health = serde_json::from_str(r#"{"Warnings":{"network-status":{"Text":"down"}}}"#).unwrap();
        assert!(health.network_down() && health.login_error().is_none());
        assert!(
            !serde_json::from_str::<Health>(r#"{"Warnings":null}"#)
                .unwrap()
                .network_down()
        );
        let locked = r#"{"Warnings":{"legacy":{"Text":"x","Args":{"error":"this node is locked out; it will not have connectivity"}}}}"#;
        assert!(serde_json::from_str::<Health>(locked).unwrap().locked_out() && !health.locked_out());
    }

    #[test]
    fn the_netmap_in_a_notification_is_read() {
        let line = r#"{"SelfChange":{"ID":9,"Name":"proxy.tail.net.","Addresses":["100.64.0.1/32"]},
            "PeersChanged":[{"ID":1,"StableID":"nA","Name":"a.tail.net.","Addresses":["100.64.0.2/32"],"Online":true}],
            "PeersRemoved":[5],"PeerChangedPatch":[{"NodeID":1,"Online":false}]}"#;
        let change = serde_json::from_str::<Notify>(line).unwrap().take_netmap_change();
        assert!(change.own.is_some() && change.initial.is_none());
        assert_eq!(
            (change.changed.len(), change.removed, change.patches.len()),
            (1, vec![5], 1)
        );
        assert!(
            serde_json::from_str::<Notify>(r#"{"PeersChanged":null,"PeersRemoved":null,"PeerState":null}"#).is_ok()
        );
    }

    #[test]
    fn established_sessions_are_read() {
        let line = r#"{"PeerState":{"nA":{"PeerWireGuardState":"established","PeerWireGuardStateAt":"2026-01-01T00:00:00Z"},
            "nB":{"PeerWireGuardState":"handshake"}}}"#;
        let notify: Notify = serde_json::from_str(line).unwrap();
        assert_eq!(notify.established_sessions().collect::<Vec<_>>(), ["nA"]);
    }

    #[test]
    fn lines_are_split_wherever_the_chunks_end() {
        let mut buffer = BytesMut::from(&b"{\"a\":1}\n{\"b"[..]);
        assert_eq!(take_line(&mut buffer).unwrap(), "{\"a\":1}");
        assert_eq!(take_line(&mut buffer), None);
        buffer.extend_from_slice(b"\":2}\n");
        assert_eq!(take_line(&mut buffer).unwrap(), "{\"b\":2}");
    }
}
