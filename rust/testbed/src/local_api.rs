//! tailscaled's LocalAPI over its unix socket, as far as a node of the testbed needs it. No command line is involved.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{net::UnixStream, time::sleep};

use crate::{
    Error,
    error::failed,
    http_call::{call, json, open, succeeded, unexpected},
};

/// How long one question may take.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// The pause between attempts to connect to a daemon that is starting.
const CONNECT_PAUSE: Duration = Duration::from_millis(5);
/// The pause before a ping that could not be sent is tried again.
const PING_PAUSE: Duration = Duration::from_millis(25);
/// ipn.NotifyInitialState, NotifyInitialPrefs, NotifyInitialNetMap: the first message tells how things stand.
const NOTIFY_MASK: u32 = 2 | 4 | 8;
/// ipn.State: Running.
const RUNNING: i64 = 6;

/// The LocalAPI behind a socket.
#[derive(Debug, Clone)]
pub struct LocalApi {
    socket: PathBuf,
}

/// Another machine, as the control server told of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Peer {
    /// Its name.
    pub host_name: String,
    /// Whether the control server says that it is there.
    pub online: bool,
}

impl LocalApi {
    /// The LocalAPI behind `socket`, which need not be there yet.
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Waits until the daemon takes connections. The caller sets the limit.
    pub async fn listening(&self) {
        // A third party's socket announces itself by nothing but being there.
        while UnixStream::connect(&self.socket).await.is_err() {
            sleep(CONNECT_PAUSE).await;
        }
    }

    /// Logs in with `auth_key` and waits until the node is in the tailnet. The caller sets the limit.
    pub async fn log_in(&self, control_url: &str, auth_key: &str, hostname: &str) -> Result<(), Error> {
        let path = format!("/localapi/v0/watch-ipn-bus?mask={NOTIFY_MASK}");
        let mut bus = open(self.connect().await?, self.request("GET", &path, Bytes::new())?)
            .await?
            .into_body();
        let start = json!({"AuthKey": auth_key, "UpdatePrefs": {
            "ControlURL": control_url, "WantRunning": true, "Hostname": hostname, "RouteAll": true, "CorpDNS": true,
        }});
        self.ask("POST", "/localapi/v0/start", start.to_string().into()).await?;
        self.ask("POST", "/localapi/v0/login-interactive", Bytes::new()).await?;

        let mut lines = BytesMut::new();
        while let Some(frame) = bus.frame().await {
            lines.extend_from_slice(frame?.data_ref().unwrap_or(&Bytes::new()));
            while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
                let notify: Value = json(&path, &lines.split_to(end + 1))?;
                if let Some(detail) = notify["ErrMessage"].as_str() {
                    return Err(unexpected(&format!("the login of {hostname}"), detail));
                }
                if notify["State"] == RUNNING {
                    return Ok(());
                }
            }
        }
        Err(unexpected(&path, "the stream of notifications ended"))
    }

    /// The node's addresses in the tailnet.
    pub async fn addresses(&self) -> Result<Vec<IpAddr>, Error> {
        let addresses: Option<Vec<IpAddr>> = self.status("?peers=false", "TailscaleIPs").await?;
        Ok(addresses.unwrap_or_default())
    }

    /// The machines that the node knows.
    pub async fn peers(&self) -> Result<Vec<Peer>, Error> {
        let peers: Option<BTreeMap<String, Peer>> = self.status("", "Peer").await?;
        Ok(peers.unwrap_or_default().into_values().collect())
    }

    /// A field of the daemon's own view of itself.
    async fn status<T: DeserializeOwned>(&self, query: &str, field: &str) -> Result<T, Error> {
        let path = format!("/localapi/v0/status{query}");
        let mut status: Value = json(&path, &self.ask("GET", &path, Bytes::new()).await?)?;
        serde_json::from_value(status[field].take()).map_err(|error| unexpected(&path, error))
    }

    /// Offers to route what `routes` cover. The control server must approve of it.
    pub async fn advertise(&self, routes: &[&str]) -> Result<(), Error> {
        let prefs = json!({"AdvertiseRoutes": routes, "AdvertiseRoutesSet": true});
        self.ask("PATCH", "/localapi/v0/prefs", prefs.to_string().into())
            .await
            .map(drop)
    }

    /// Pings another node through WireGuard's session with it, and returns when it has answered. The first messages to a node
    /// that has not heard of this one yet are lost, and WireGuard sends the next 5 s later. The caller sets the limit.
    pub async fn wait_for_session(&self, address: IpAddr) -> Result<(), Error> {
        for kind in ["disco", "TSMP"] {
            let path = format!("/localapi/v0/ping?ip={address}&type={kind}");
            loop {
                match self.ask("POST", &path, Bytes::new()).await {
                    Ok(pong)
                        if json::<Value>(&path, &pong)?["Err"]
                            .as_str()
                            .unwrap_or_default()
                            .is_empty() =>
                    {
                        break;
                    }
                    Ok(_) => sleep(PING_PAUSE).await,
                    Err(Error::TimedOut { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, method: &str, path: &str, body: Bytes) -> Result<Bytes, Error> {
        succeeded(
            path,
            call(self.connect().await?, self.request(method, path, body)?, CALL_LIMIT).await?,
        )
    }

    async fn connect(&self) -> Result<UnixStream, Error> {
        let connected = UnixStream::connect(&self.socket).await;
        connected.map_err(failed(format!("cannot connect to {}", self.socket.display())))
    }

    fn request(&self, method: &str, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Error> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "local-tailscaled.sock");
        Ok(request.body(Full::new(body))?)
    }
}
