//! tailscaled's LocalAPI over its unix socket: what the `tailscale` command line would ask, without the command line.

use std::{io, net::IpAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::{
    bus::Bus,
    netmap::Netmap,
    secret::Secret,
    socket::{Socket, Way},
};

/// Only the first notification of a session carries the state unless it is asked for (ipn.NotifyInitialState).
const NOTIFY_INITIAL_STATE: u32 = 1 << 1;
/// And its complaints likewise (ipn.NotifyInitialHealthState).
const NOTIFY_INITIAL_HEALTH: u32 = 1 << 7;

/// Why the LocalAPI gave no usable answer.
#[derive(Debug, Error)]
pub enum LocalApiError {
    /// The daemon is not there, or went away.
    #[error("tailscaled's LocalAPI cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    /// The connection broke.
    #[error("tailscaled's LocalAPI broke off: {0}")]
    Broken(#[from] hyper::Error),
    /// The daemon takes connections but does not answer.
    #[error("tailscaled's LocalAPI did not answer within {} s", limit.as_secs_f32())]
    Silent {
        /// How long it was waited for.
        limit: Duration,
    },
    /// The daemon refused.
    #[error("tailscaled's LocalAPI answered {path} with {status}: {body}")]
    Refused {
        /// What was asked.
        path: String,
        /// The status.
        status: StatusCode,
        /// Its words.
        body: String,
    },
    /// The answer is not of the form that this version of tailscaled gives.
    #[error("tailscaled's LocalAPI answered {path} with something else than expected: {detail}")]
    Malformed {
        /// What was asked.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// The settings that a login brings (ipn.Prefs; what is left out stays at Go's zero value).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Prefs {
    /// The control server; empty for Tailscale's own.
    #[serde(rename = "ControlURL")]
    pub control_url: String,
    /// Be in the tailnet.
    pub want_running: bool,
    /// The machine's name.
    pub hostname: String,
    /// Accept routes of subnet routers.
    pub route_all: bool,
    /// Use the tailnet's DNS settings: without it MagicDNS names are unknown.
    #[serde(rename = "CorpDNS")]
    pub corp_dns: bool,
    /// Let no peer in: a connection to the node would reach the function's loopback.
    pub shields_up: bool,
    /// The tags to ask for.
    pub advertise_tags: Vec<String>,
}

/// What is to answer a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ping {
    /// The other daemon, by whatever path there is to it; WireGuard has no part in it.
    Path,
    /// The other daemon through the session that WireGuard has with it, which begins if need be.
    Session,
}

/// The LocalAPI, by whatever way it is reached.
#[derive(Debug, Clone)]
pub struct LocalApi {
    way: Arc<dyn Way>,
}

impl LocalApi {
    /// The LocalAPI behind `socket`, which need not be there yet.
    pub fn new(socket: &Path) -> Self {
        Self::by(Arc::new(Socket::new(socket)))
    }

    /// The LocalAPI that `way` leads to.
    pub fn by(way: Arc<dyn Way>) -> Self {
        Self { way }
    }

    /// Waits until the daemon takes connections. The caller sets the limit.
    pub async fn listening(&self) -> io::Result<()> {
        self.way.open().await
    }

    /// Opens the stream of the daemon's notifications; the first tells its state.
    pub async fn watch(&self) -> Result<Bus, LocalApiError> {
        let path = format!(
            "/localapi/v0/watch-ipn-bus?mask={}",
            NOTIFY_INITIAL_STATE | NOTIFY_INITIAL_HEALTH
        );
        Ok(Bus::new(self.send("GET", &path, Bytes::new()).await?.into_body()))
    }

    /// Brings the daemon up with `prefs`; `key` serves the login that follows.
    pub async fn start(&self, key: &Secret, prefs: &Prefs) -> Result<(), LocalApiError> {
        self.start_with(&serde_json::json!({"AuthKey": key.expose(), "UpdatePrefs": prefs}))
            .await
    }

    async fn start_with(&self, options: &Value) -> Result<(), LocalApiError> {
        self.call("POST", "/localapi/v0/start", Bytes::from(options.to_string()))
            .await
            .map(drop)
    }

    /// Logs in, with the key that `start` brought.
    pub async fn login(&self) -> Result<(), LocalApiError> {
        self.call("POST", "/localapi/v0/login-interactive", Bytes::new())
            .await
            .map(drop)
    }

    /// Logs out: the control server forgets an ephemeral machine at once.
    pub async fn logout(&self) -> Result<(), LocalApiError> {
        self.call("POST", "/localapi/v0/logout", Bytes::new()).await.map(drop)
    }

    /// Sends all that no peer and no route covers through the peer with this stable id.
    pub async fn use_exit_node(&self, id: &str) -> Result<(), LocalApiError> {
        let body = serde_json::json!({"ExitNodeID": id, "ExitNodeIDSet": true});
        self.call("PATCH", "/localapi/v0/prefs", Bytes::from(body.to_string()))
            .await
            .map(drop)
    }

    /// The peers and routes that the daemon knows.
    pub async fn netmap(&self) -> Result<Netmap, LocalApiError> {
        let path = "/localapi/v0/status";
        let body = self.call("GET", path, Bytes::new()).await?;
        Netmap::parse(&body).map_err(|error| malformed(path, &error))
    }

    /// Asks the tailnet's resolver for a name's addresses of one record type (`A` or `AAAA`).
    pub async fn addresses(&self, name: &str, record: &str) -> Result<Vec<IpAddr>, LocalApiError> {
        #[derive(Deserialize)]
        struct DnsAnswer {
            #[serde(rename = "Bytes")]
            message: String,
        }
        let path = format!("/localapi/v0/dns-query?name={name}&type={record}");
        let body = self.call("GET", &path, Bytes::new()).await?;
        let answer: DnsAnswer = serde_json::from_slice(&body).map_err(|error| malformed(&path, &error))?;
        crate::dns::addresses(&answer.message).map_err(|error| malformed(&path, &error))
    }

    /// Waits until the node behind `address` has answered a ping of this kind.
    /// The daemon itself gives up after some time; the caller sets the limit.
    pub async fn ping(&self, address: IpAddr, kind: Ping) -> Result<(), LocalApiError> {
        #[derive(Deserialize)]
        struct Pong {
            #[serde(rename = "Err", default)]
            error: String,
        }
        let kind = match kind {
            Ping::Path => "disco",
            Ping::Session => "TSMP",
        };
        let path = format!("/localapi/v0/ping?ip={address}&type={kind}");
        let body = self.call("POST", &path, Bytes::new()).await?;
        let pong: Pong = serde_json::from_slice(&body).map_err(|error| malformed(&path, &error))?;
        if pong.error.is_empty() {
            return Ok(());
        }
        Err(LocalApiError::Malformed {
            path,
            detail: pong.error,
        })
    }

    /// Returns when the daemon has answered: it is awake.
    pub async fn awake(&self) -> Result<(), LocalApiError> {
        self.call("GET", "/localapi/v0/prefs", Bytes::new()).await.map(drop)
    }

    /// Breaks the links to the DERP servers, which brings new ones at once. Left to itself, the daemon would take dead
    /// ones for alive for a minute or more.
    pub async fn break_links(&self) -> Result<(), LocalApiError> {
        self.debug("break-derp-conns").await
    }

    /// Has the daemon find its own address and the paths to its peers anew; it does so in the background.
    pub async fn find_paths(&self) -> Result<(), LocalApiError> {
        self.debug("restun").await
    }

    /// Drops WireGuard's sessions and half-done handshakes with all peers, so that the next packet begins a new one at
    /// once; and the links to the DERP servers, which brings new ones. Connections through the tailnet outlive it.
    ///
    /// There is no call for this alone: the daemon is switched off and on, which takes its key away for a moment. It must
    /// not be left half done.
    pub async fn renew_sessions(&self) -> Result<(), LocalApiError> {
        self.switch(false).await?;
        self.switch(true).await
    }

    /// Gives the daemon a new control client, with a connection of its own, and leaves all else as it is.
    ///
    /// The old one would wait for an answer on a connection that has died until TCP gives that up, for a quarter of an hour;
    /// and in the pause before another attempt it holds a lock that much of the LocalAPI waits for. `key` serves where the
    /// control server wants one for a machine that it knows, or does not know the machine any more.
    pub async fn renew_control(&self, key: &Secret) -> Result<(), LocalApiError> {
        self.start_with(&serde_json::json!({"AuthKey": key.expose()})).await
    }

    /// Does what [`renew_sessions`](Self::renew_sessions) and [`renew_control`](Self::renew_control) do. It waits for nothing
    /// that the old control client holds.
    pub async fn renew_all(&self, key: &Secret) -> Result<(), LocalApiError> {
        let path = "/localapi/v0/prefs";
        let prefs = self.call("GET", path, Bytes::new()).await?;
        let mut prefs: Value = serde_json::from_slice(&prefs).map_err(|error| malformed(path, &error))?;
        prefs["WantRunning"] = false.into();
        self.start_with(&serde_json::json!({"AuthKey": key.expose(), "UpdatePrefs": prefs}))
            .await?;
        self.switch(true).await
    }

    async fn switch(&self, want_running: bool) -> Result<(), LocalApiError> {
        let body = serde_json::json!({"WantRunning": want_running, "WantRunningSet": true});
        self.call("PATCH", "/localapi/v0/prefs", Bytes::from(body.to_string()))
            .await
            .map(drop)
    }

    async fn debug(&self, action: &str) -> Result<(), LocalApiError> {
        let path = format!("/localapi/v0/debug?action={action}");
        self.call("POST", &path, Bytes::new()).await.map(drop)
    }

    async fn call(&self, method: &str, path: &str, body: Bytes) -> Result<Bytes, LocalApiError> {
        Ok(self
            .send(method, path, body)
            .await?
            .into_body()
            .collect()
            .await?
            .to_bytes())
    }

    async fn send(&self, method: &str, path: &str, body: Bytes) -> Result<Response<Incoming>, LocalApiError> {
        let stream = self.way.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its end shows as an error, or as the end, of the answer under way.
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "local-tailscaled.sock")
            .body(Full::new(body))
            .map_err(|error| malformed(path, &error))?;
        let answer = sender.send_request(request).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let body = String::from_utf8_lossy(&body).trim().to_owned();
        Err(LocalApiError::Refused {
            path: path.to_owned(),
            status,
            body,
        })
    }
}

fn malformed(path: &str, error: &dyn std::error::Error) -> LocalApiError {
    LocalApiError::Malformed {
        path: path.to_owned(),
        detail: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn prefs_have_the_names_that_the_daemon_reads() {
        let prefs = Prefs {
            control_url: "http://192.0.2.2".into(),
            want_running: true,
            hostname: "proxy".into(),
            route_all: true,
            corp_dns: true,
            shields_up: true,
            advertise_tags: vec!["tag:a".into()],
        };
        let expected = serde_json::json!({"ControlURL": "http://192.0.2.2", "WantRunning": true, "Hostname": "proxy",
            "RouteAll": true, "CorpDNS": true, "ShieldsUp": true, "AdvertiseTags": ["tag:a"]});
        assert_eq!(serde_json::to_value(prefs).unwrap(), expected);
    }
}
