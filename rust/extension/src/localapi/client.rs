//! The calls of tailscaled's LocalAPI that the extension makes. Each has a time limit.

use std::{io, net::IpAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    auth::secret::Secret,
    localapi::{
        bus::{Bus, WATCH_MASK},
        dns,
        error::LocalApiError,
        status::StatusReport,
        transport::{Transport, UnixSocket},
    },
};

/// How long a simple call may take before tailscaled is taken for stuck (measured: 1 ms on a whole core).
const CALL_LIMIT: Duration = Duration::from_secs(2);
/// How long a DNS query may take: the tailnet's resolver may ask a name server behind a distant peer.
pub const DNS_LIMIT: Duration = Duration::from_secs(4);
/// How long a call may take that stops the control client, which may be asleep in its back-off (up to 45 s in v1.102.5).
const CONTROL_LIMIT: Duration = Duration::from_secs(60);

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

/// What answers a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ping {
    /// The peer's magicsock, over whatever path there is; WireGuard has no part in it.
    Disco,
    /// The peer through the WireGuard session, which begins if there is none.
    Tsmp,
}

/// A client of the LocalAPI. Clones share the transport.
#[derive(Debug, Clone)]
pub struct LocalApi {
    transport: Arc<dyn Transport>,
}

impl LocalApi {
    /// The LocalAPI behind `socket`, which need not be there yet.
    pub fn new(socket: &Path) -> Self {
        Self::with_transport(Arc::new(UnixSocket::new(socket)))
    }

    /// The LocalAPI that `transport` leads to.
    pub fn with_transport(transport: Arc<dyn Transport>) -> Self {
        Self { transport }
    }

    /// Waits until tailscaled accepts connections. The caller sets the limit.
    pub async fn listening(&self) -> io::Result<()> {
        self.transport.ready().await
    }

    /// Opens the stream of notifications. Its first line has the state, health and peers.
    pub async fn watch(&self) -> Result<Bus, LocalApiError> {
        let path = format!("/localapi/v0/watch-ipn-bus?mask={WATCH_MASK}");
        let response = within(CALL_LIMIT, self.send("GET", &path, Bytes::new())).await?;
        Ok(Bus::new(response.into_body()))
    }

    /// Brings tailscaled up with `prefs`; `key` serves the login that follows.
    pub async fn start(&self, key: &Secret, prefs: &Prefs) -> Result<(), LocalApiError> {
        let options = serde_json::json!({"AuthKey": key.expose(), "UpdatePrefs": prefs});
        self.post("/localapi/v0/start", options.to_string(), CALL_LIMIT).await
    }

    /// Logs in, with the key that `start` brought.
    pub async fn login(&self) -> Result<(), LocalApiError> {
        self.post("/localapi/v0/login-interactive", String::new(), CALL_LIMIT)
            .await
    }

    /// Logs out: the control server forgets an ephemeral machine at once. The caller sets the limit.
    pub async fn logout(&self) -> Result<(), LocalApiError> {
        self.post("/localapi/v0/logout", String::new(), CONTROL_LIMIT).await
    }

    /// Detaches the control client, at once, and waits until it has stopped. The data plane goes on without it.
    ///
    /// A control client that is in its back-off holds a lock (`Auto.mapRoutine` in v1.102.5): a change of the preferences
    /// would wait for that lock, and with it all of the LocalAPI. Once detached, nothing waits for it.
    pub async fn disconnect_control(&self) -> Result<(), LocalApiError> {
        self.post("/localapi/v0/disconnect-control", String::new(), CONTROL_LIMIT)
            .await
    }

    /// Replaces the control client, with a connection of its own, and leaves the data plane alone. It registers by the node
    /// key alone: a control server rejects a known machine that presents an auth key which is unknown by now
    /// (tailscale/tailscale#16987).
    pub async fn reconnect_control(&self) -> Result<(), LocalApiError> {
        self.post("/localapi/v0/start", "{}".to_owned(), CONTROL_LIMIT).await
    }

    /// Sends all that no peer and no route covers through the peer with this stable ID.
    pub async fn use_exit_node(&self, id: &str) -> Result<(), LocalApiError> {
        self.edit_prefs(&serde_json::json!({"ExitNodeID": id, "ExitNodeIDSet": true}))
            .await
    }

    /// Switches the data plane off or on. Off drops the WireGuard sessions and the DERP connections; connections through
    /// the tailnet outlive it if it is switched on again.
    pub async fn set_running(&self, running: bool) -> Result<(), LocalApiError> {
        self.edit_prefs(&serde_json::json!({"WantRunning": running, "WantRunningSet": true}))
            .await
    }

    /// Returns when tailscaled has responded: it is awake.
    pub async fn awake(&self) -> Result<(), LocalApiError> {
        self.call("GET", "/localapi/v0/prefs", Bytes::new(), CALL_LIMIT)
            .await
            .map(drop)
    }

    /// Asks the tailnet's resolver for the addresses of a name, of one record type (`A` or `AAAA`).
    pub async fn addresses(&self, name: &str, record: &str) -> Result<Vec<IpAddr>, LocalApiError> {
        #[derive(Deserialize)]
        struct DnsAnswer {
            #[serde(rename = "Bytes")]
            message: String,
        }
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let path = format!("/localapi/v0/dns-query?name={name}&type={record}");
        let body = self.call("GET", &path, Bytes::new(), DNS_LIMIT).await?;
        let answer: DnsAnswer = serde_json::from_slice(&body).map_err(|error| malformed(&path, &error))?;
        dns::addresses(&answer.message).map_err(|error| malformed(&path, &error))
    }

    /// Waits until the node behind `address` has answered a ping of this kind. The caller sets the limit: tailscaled itself
    /// waits for ever.
    pub async fn ping(&self, address: IpAddr, kind: Ping) -> Result<(), LocalApiError> {
        #[derive(Deserialize)]
        struct PingResult {
            #[serde(rename = "Err", default)]
            error: String,
        }
        let kind = match kind {
            Ping::Disco => "disco",
            Ping::Tsmp => "TSMP",
        };
        let path = format!("/localapi/v0/ping?ip={address}&type={kind}");
        let body = collect(self.send("POST", &path, Bytes::new()).await?).await?;
        let result: PingResult = serde_json::from_slice(&body).map_err(|error| malformed(&path, &error))?;
        if result.error.is_empty() {
            return Ok(());
        }
        Err(LocalApiError::Malformed {
            path,
            detail: result.error,
        })
    }

    /// What tailscaled knows of this machine and its peers. It costs the more, the more peers there are.
    pub async fn status(&self) -> Result<StatusReport, LocalApiError> {
        self.status_at("/localapi/v0/status").await
    }

    /// Whether this machine has a home DERP region, by which peers answer that have no direct path to it. tailscaled chooses
    /// one when it has tried UDP, which takes 3 s where that is blocked.
    pub async fn has_home(&self) -> Result<bool, LocalApiError> {
        let status = self.status_at("/localapi/v0/status?peers=false").await?;
        Ok(!status.own.relay.is_empty())
    }

    async fn status_at(&self, path: &str) -> Result<StatusReport, LocalApiError> {
        let body = self.call("GET", path, Bytes::new(), CALL_LIMIT).await?;
        serde_json::from_slice(&body).map_err(|error| malformed(path, &error))
    }

    /// Closes the connections to the DERP servers and opens new ones at once. Left to itself, tailscaled would keep dead
    /// ones for a minute or more.
    pub async fn reconnect_derp(&self) -> Result<(), LocalApiError> {
        self.debug("break-derp-conns").await
    }

    /// Has tailscaled find its own endpoints and the paths to its peers anew, in the background.
    pub async fn restun(&self) -> Result<(), LocalApiError> {
        self.debug("restun").await
    }

    async fn edit_prefs(&self, prefs: &serde_json::Value) -> Result<(), LocalApiError> {
        self.call("PATCH", "/localapi/v0/prefs", prefs.to_string().into(), CALL_LIMIT)
            .await
            .map(drop)
    }

    async fn debug(&self, action: &str) -> Result<(), LocalApiError> {
        let path = format!("/localapi/v0/debug?action={action}");
        self.post(&path, String::new(), CALL_LIMIT).await
    }

    async fn post(&self, path: &str, body: String, limit: Duration) -> Result<(), LocalApiError> {
        self.call("POST", path, body.into(), limit).await.map(drop)
    }

    async fn call(&self, method: &str, path: &str, body: Bytes, limit: Duration) -> Result<Bytes, LocalApiError> {
        within(limit, async { collect(self.send(method, path, body).await?).await }).await
    }

    async fn send(&self, method: &str, path: &str, body: Bytes) -> Result<Response<Incoming>, LocalApiError> {
        let stream = self.transport.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its end shows as an error, or as the end, of the response under way.
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "local-tailscaled.sock")
            .body(Full::new(body))
            .map_err(|error| malformed(path, &error))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = collect(response).await?;
        Err(LocalApiError::Refused {
            path: path.to_owned(),
            status,
            body: String::from_utf8_lossy(&body).trim().to_owned(),
        })
    }
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, LocalApiError> {
    Ok(response.into_body().collect().await?.to_bytes())
}

async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, LocalApiError>>) -> Result<T, LocalApiError> {
    timeout(limit, call)
        .await
        .map_err(|_| LocalApiError::Silent { limit })?
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
    fn prefs_have_the_names_that_tailscaled_reads() {
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
