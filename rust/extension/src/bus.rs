//! The daemon's notifications: a stream of JSON lines, of which the state and the troubles matter here.

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;

use crate::local_api::LocalApiError;

/// The longest line that is taken: far above any notification that this program asks for.
const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// One notification (ipn.Notify), as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Notify {
    /// The daemon's state, when it changed.
    pub state: Option<State>,
    /// What went wrong, in the daemon's or the control server's words.
    pub err_message: Option<String>,
    /// Where a person would have to log in: the key was not accepted for a login without a person.
    #[serde(rename = "BrowseToURL")]
    pub browse_to_url: Option<String>,
    /// What the daemon complains of, when that changed.
    pub health: Option<Health>,
}

/// What the daemon complains of (health.State): the only place that tells of a control server that cannot be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Health {
    warnings: Option<HashMap<String, Warning>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Warning {
    args: Option<HashMap<String, String>>,
}

impl Health {
    /// What the last attempt to log in came to, if it failed.
    pub fn login_error(&self) -> Option<&str> {
        self.warning("login-state")?
            .args
            .as_ref()?
            .get("error")
            .map(String::as_str)
    }

    /// What the last attempt to log in came to, if it ended before the control server's word on it (which comes as an
    /// error of its own).
    pub fn control_never_reached(&self) -> Option<&str> {
        self.login_error().filter(|words| never_reached(words))
    }

    /// Whether the daemon sees no network.
    pub fn network_down(&self) -> bool {
        self.warning("network-status").is_some()
    }

    fn warning(&self, code: &str) -> Option<&Warning> {
        self.warnings.as_ref()?.get(code)
    }
}

/// The words are those of tailscale.com/control/controlclient.
fn never_reached(words: &str) -> bool {
    // The attempt made way for another one.
    if words.contains("context canceled") {
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
    .any(|sign| words.contains(sign))
}

/// The daemon's state (ipn.State).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "u8")]
pub enum State {
    /// Nobody is logged in.
    NeedsLogin,
    /// Logged in, but an administrator must approve the machine.
    NeedsMachineAuth,
    /// Switched off.
    Stopped,
    /// Logged in, the network is being set up.
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

    /// The next notification; `None` when the daemon has closed the stream.
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
    fn what_matters_of_a_notification_is_read() {
        let line =
            r#"{"Version":"1.102.4","SessionID":"x","ErrMessage":null,"LoginFinished":null,"State":2,"Prefs":null}"#;
        assert_eq!(
            serde_json::from_str::<Notify>(line).unwrap().state,
            Some(State::NeedsLogin)
        );
        let line =
            r#"{"Version":"1.102.4","ErrMessage":"invalid pre auth key","NetMap":null,"BrowseToURL":"http://a"}"#;
        let notify: Notify = serde_json::from_str(line).unwrap();
        assert_eq!(notify.err_message.as_deref(), Some("invalid pre auth key"));
        assert_eq!(notify.browse_to_url.as_deref(), Some("http://a"));
    }

    #[test]
    fn a_login_that_failed_shows_in_the_daemons_health() {
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
