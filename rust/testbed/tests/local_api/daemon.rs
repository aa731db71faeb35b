//! A tailscaled as the extension runs it, its LocalAPI, and the answers of that as they come.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use libtest_mimic::Failed;
use serde_json::{Value, json};
use testbed::{
    deadline::within,
    http_call::{call, open},
    node::start_daemon,
    process::{Process, command},
};
use tokio::net::UnixStream;

/// How long a call may take. A ping waits for its answer, and WireGuard tries a lost handshake again after 5 s.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// How long a notification may take that something has brought about.
const NOTIFICATION_LIMIT: Duration = Duration::from_secs(20);
/// What the extension asks of the bus (ipn.NotifyWatchOpt): the initial state, health and status, changes of peers, their
/// patches, and the states of WireGuard sessions.
const WATCH: &str = "/localapi/v0/watch-ipn-bus?mask=315522";

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
        self.post("start", &options.to_string())
            .await?
            .is(StatusCode::NO_CONTENT)?;
        self.post("login-interactive", "").await?.is(StatusCode::NO_CONTENT)?;
        Ok(())
    }

    /// One GET.
    pub(crate) async fn get(&self, what: &str) -> Result<Answer, Failed> {
        self.ask("GET", what, "").await
    }

    /// One POST.
    pub(crate) async fn post(&self, what: &str, body: &str) -> Result<Answer, Failed> {
        self.ask("POST", what, body).await
    }

    /// One PATCH.
    pub(crate) async fn patch(&self, what: &str, body: &Value) -> Result<Answer, Failed> {
        self.ask("PATCH", what, &body.to_string()).await
    }

    async fn ask(&self, method: &str, what: &str, body: &str) -> Result<Answer, Failed> {
        let path = format!("/localapi/v0/{what}");
        let request = request(method, &path, body)?;
        let answer = call(UnixStream::connect(&self.socket).await?, request, CALL_LIMIT).await;
        let call = format!("{method} {path}");
        match answer {
            Ok(answer) => Ok(Answer { call, answer }),
            Err(error) => Err(format!("{call}: {error}").into()),
        }
    }

    /// The notifications from here on.
    pub(crate) async fn watch(&self) -> Result<Bus, Failed> {
        let answer = open(UnixStream::connect(&self.socket).await?, request("GET", WATCH, "")?).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("GET {WATCH}: answered with {}", answer.status()).into());
        }
        Ok(Bus {
            body: answer.into_body(),
            unread: BytesMut::new(),
            told: Vec::new(),
        })
    }
}

fn request(method: &str, path: &str, body: &str) -> Result<Request<Full<Bytes>>, http::Error> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "local-tailscaled.sock")
        .body(Full::new(body.to_owned().into()))
}

/// What one call was answered.
pub(crate) struct Answer {
    call: String,
    answer: Response<Bytes>,
}

impl Answer {
    /// The call, to name it where something is wrong.
    pub(crate) fn call(&self) -> &str {
        &self.call
    }

    /// Fails unless the status is this one.
    pub(crate) fn is(self, status: StatusCode) -> Result<Self, Failed> {
        if self.answer.status() == status {
            return Ok(self);
        }
        Err(format!(
            "{}: want {status}, got {}: {}",
            self.call,
            self.answer.status(),
            self.text()
        )
        .into())
    }

    /// Its text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.answer.body()).trim().to_owned()
    }

    /// Its JSON.
    pub(crate) fn json(&self) -> Result<Value, Failed> {
        serde_json::from_slice(self.answer.body())
            .map_err(|error| format!("{}: no JSON ({error}): {}", self.call, self.text()).into())
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
    pub(crate) const CALL: &'static str = "GET /localapi/v0/watch-ipn-bus";

    /// The first notification.
    pub(crate) async fn first(&mut self) -> Result<Value, Failed> {
        self.until("at all", |_| true).await
    }

    /// Waits for a notification of this kind, unless there has been one. `what` names it: "with a State of 6".
    pub(crate) async fn until(&mut self, what: &str, kind: impl Fn(&Value) -> bool) -> Result<Value, Failed> {
        if let Some(notification) = self.told.iter().find(|notification| kind(notification)) {
            return Ok(notification.clone());
        }
        let waiting = within(NOTIFICATION_LIMIT, "it", async {
            loop {
                let notification = self.next().await?;
                self.told.push(notification.clone());
                if kind(&notification) {
                    return Ok::<_, Failed>(notification);
                }
            }
        });
        let Ok(found) = waiting.await else {
            let told: String = self
                .told
                .iter()
                .map(|notification| format!("\n{notification}"))
                .collect();
            return Err(format!(
                "{}: no notification {what} within {NOTIFICATION_LIMIT:?}, but:{told}",
                Self::CALL
            )
            .into());
        };
        found
    }

    /// Waits for this state.
    pub(crate) async fn state(&mut self, number: u64) -> Result<(), Failed> {
        self.until(&format!("with a State of {number}"), |notification| {
            notification["State"] == number
        })
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
