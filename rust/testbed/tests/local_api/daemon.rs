//! A tailscaled as the extension runs it, its LocalAPI, and the answers of that as they come.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use libtest_mimic::Failed;
use serde_json::{Value, json};
use testbed::{
    deadline::within,
    http_call::{self, open},
    node::start_daemon,
    process::{Process, command},
};
use tokio::net::UnixStream;

use crate::shape::{Type, has, tells};

/// How long a call may take. A ping waits for its answer, and WireGuard tries a lost handshake again after 5 s.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// How long a notification may take that something has brought about.
const NOTIFICATION_LIMIT: Duration = Duration::from_secs(20);
/// What the extension asks of the bus (ipn.NotifyWatchOpt): the initial state, health and status, changes of peers, their
/// patches, and the states of WireGuard sessions.
const WATCH_MASK: u32 = 315_522;

/// A running tailscaled, logged in nowhere.
pub(crate) struct Daemon {
    _process: Process,
    socket: PathBuf,
}

impl Daemon {
    /// Starts it; its files are called `name`.
    pub(crate) async fn start(program: &Path, name: &str, run_dir: &Path) -> Result<Self, Failed> {
        let (process, socket) = start_daemon(&mut command(program, run_dir), name, None, run_dir).await?;
        Ok(Self {
            _process: process,
            socket,
        })
    }

    /// Has it log in, by the two calls of the extension's, which must succeed.
    pub(crate) async fn log_in(&self, control_url: &str, auth_key: &str) -> Result<(), Failed> {
        let options = json!({"AuthKey": auth_key, "UpdatePrefs": {
            "ControlURL": control_url, "WantRunning": true, "Hostname": "daemon", "RouteAll": true, "CorpDNS": true,
            "ShieldsUp": true, "AdvertiseTags": ["tag:daemon"],
        }});
        self.call("POST start", options, 204).await?;
        self.call("POST login-interactive", "", 204).await?;
        Ok(())
    }

    /// One call, like "GET status", which must be answered with this status.
    pub(crate) async fn call(&self, call: &str, body: impl Display, status: u16) -> Result<Answer, Failed> {
        let stream = UnixStream::connect(&self.socket).await?;
        let answer = http_call::call(stream, request(call, body)?, CALL_LIMIT).await?;
        let text = String::from_utf8_lossy(answer.body()).trim().to_owned();
        if answer.status() != status {
            return Err(format!("{call}: want {status}, got {}: {text}", answer.status()).into());
        }
        Ok(Answer {
            call: call.to_owned(),
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        })
    }

    /// The notifications from here on.
    pub(crate) async fn watch(&self) -> Result<Bus, Failed> {
        let watch = format!("GET watch-ipn-bus?mask={WATCH_MASK}");
        let answer = open(UnixStream::connect(&self.socket).await?, request(&watch, "")?).await?;
        assert_eq!(answer.status(), 200, "{watch}");
        Ok(Bus {
            body: answer.into_body(),
            unread: BytesMut::new(),
            told: Vec::new(),
        })
    }
}

fn request(call: &str, body: impl Display) -> Result<Request<Full<Bytes>>, http::Error> {
    let (method, what) = call.split_once(' ').unwrap();
    Request::builder()
        .method(method)
        .uri(format!("/localapi/v0/{what}"))
        .header("host", "local-tailscaled.sock")
        .body(Full::new(body.to_string().into()))
}

/// What one call was answered.
pub(crate) struct Answer {
    /// The call, to name it where something is wrong.
    pub(crate) call: String,
    /// The JSON, or a text where it is none.
    pub(crate) body: Value,
}

impl Answer {
    /// Fails unless the answer has all of these fields.
    pub(crate) fn has(&self, fields: &[(&str, Type)]) -> Result<(), Failed> {
        has(&self.call, &self.body, fields)
    }
}

/// The stream of notifications, and what it has told so far.
pub(crate) struct Bus {
    body: Incoming,
    unread: BytesMut,
    told: Vec<Value>,
}

impl Bus {
    /// The call, to name it where something is wrong.
    pub(crate) const CALL: &'static str = "GET watch-ipn-bus";

    /// The first notification.
    pub(crate) async fn first(&mut self) -> Result<Value, Failed> {
        self.until("at all", |_| true).await
    }

    /// Waits for a notification with something at `path`, unless there has been one.
    pub(crate) async fn tells(&mut self, path: &str) -> Result<Value, Failed> {
        self.until(&format!("with {path}"), |notification| tells(notification, path))
            .await
    }

    /// Waits for a notification of this kind, unless there has been one. `what` names it: "with a State of 6".
    pub(crate) async fn until(&mut self, what: &str, kind: impl Fn(&Value) -> bool) -> Result<Value, Failed> {
        if let Some(notification) = self.told.iter().find(|notification| kind(notification)) {
            return Ok(notification.clone());
        }
        let waiting = async {
            loop {
                let notification = self.next().await?;
                self.told.push(notification.clone());
                if kind(&notification) {
                    return Ok::<_, Failed>(notification);
                }
            }
        };
        let what = format!("{}: a notification {what}", Self::CALL);
        let found = within(NOTIFICATION_LIMIT, &what, waiting).await;
        found.map_err(|late| format!("{late}, but: {}", json!(self.told)))?
    }

    /// Waits for this state.
    pub(crate) async fn state(&mut self, number: u64) -> Result<(), Failed> {
        let what = format!("with a State of {number}");
        self.until(&what, |notification| notification["State"] == number)
            .await
            .map(drop)
    }

    /// Forgets what it has told: what comes next is new.
    pub(crate) fn forget(&mut self) {
        self.told.clear();
    }

    async fn next(&mut self) -> Result<Value, Failed> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line = self.unread.split_to(end + 1);
                return serde_json::from_slice(&line)
                    .map_err(|error| format!("{}: a line is no JSON ({error})", Self::CALL).into());
            }
            let Some(frame) = self.body.frame().await else {
                return Err(format!("{}: the stream ended", Self::CALL).into());
            };
            self.unread
                .extend_from_slice(frame?.data_ref().unwrap_or(&Bytes::new()));
        }
    }
}
