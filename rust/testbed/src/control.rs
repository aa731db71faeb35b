//! The control server, with DERP and STUN, and what a test may ask of it.

use std::{collections::BTreeMap, net::IpAddr, path::Path, process::Stdio, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::{
    Error,
    http_call::{CallError, call, json, succeeded},
    network::{ADDRESS, CONTROL_ADDRESS},
    process::{Process, command},
};

/// How long it may take to start.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take to answer.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// The domain of the nodes' MagicDNS names.
pub const MAGIC_DNS_DOMAIN: &str = "tailnet.test";

/// The running control server.
#[derive(Debug)]
pub struct Control {
    /// Its process.
    pub process: Process,
    url: String,
}

/// A machine that logged in.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    /// Its number.
    pub id: i64,
    /// Its full MagicDNS name, with the final dot.
    pub name: String,
    /// Its addresses in the tailnet, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Its tags.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    /// Whether it holds a connection to the control server.
    pub online: bool,
    /// Whether it must log in again.
    pub expired: bool,
    /// Whether it is gone when it logs out.
    pub ephemeral: bool,
}

/// What machines of one name asked of the control server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// Registrations of new machines, admitted by an auth key.
    pub new: u64,
    /// Known machines that came with another node key, admitted by an auth key.
    pub rotated: u64,
    /// Known node keys that registered again without an auth key.
    pub known: u64,
    /// Known node keys that brought an auth key, though they need none.
    pub known_with_key: u64,
    /// Registrations that were refused in words.
    pub refused: u64,
    /// Known node keys that had expired.
    pub expired: u64,
    /// Those that were sent to a page where a person logs in.
    pub asked_for_login: u64,
    /// Log-outs.
    pub logged_out: u64,
}

impl Counts {
    /// All registrations, of whatever kind.
    pub fn registrations(&self) -> u64 {
        self.new + self.rotated + self.known + self.known_with_key + self.refused + self.expired + self.asked_for_login
    }
}

/// What an auth key can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KeyKind {
    /// It can be used more than once.
    pub reusable: bool,
    /// Machines that it admits are gone when they log out.
    pub ephemeral: bool,
}

/// Machines that the tailnet knows and that nobody is behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Crowd {
    /// How many are unlike the function, and offline.
    pub peers: usize,
    /// How many of them are online all the same.
    pub online: usize,
    /// How many are frozen environments of the function: online by the control server's word, and silent.
    pub siblings: usize,
    /// The siblings' name.
    pub hostname: String,
    /// The siblings' tags.
    pub tags: Vec<String>,
}

/// What the control server does with nodes that want to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It lets them in.
    Nothing,
    /// It answers every request with 503.
    Everything,
    /// An administrator must approve them first.
    Unapproved,
    /// A person must log in.
    Person,
    /// They must send their logs to Tailscale.
    WithoutLogs,
    /// It refuses the login in these words.
    Words(&'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    control_url: String,
}

impl Control {
    /// Starts it; it accepts `auth_key`, which is reusable and ephemeral, and those that are [declared](Self::declare_key).
    pub async fn start(program: &Path, auth_key: &str, run_dir: &Path) -> Result<Self, Error> {
        let mut command = command(program, run_dir);
        command
            .arg(format!("-listen={CONTROL_ADDRESS}:0"))
            .arg(format!("-derp-ip={ADDRESS}"))
            .arg(format!("-auth-key={auth_key}"))
            .arg(format!("-magicdns-domain={MAGIC_DNS_DOMAIN}"))
            // It ends when its input does.
            .stdin(Stdio::piped());
        let (process, mut lines) = Process::spawn_reading("the control server", &mut command)?;
        let what = "its line on standard output";
        let Some(line) = process.ready(START_LIMIT, what, lines.recv()).await? else {
            return Err(Error::from(crate::process::ProcessError::Ended(process.exited().await)));
        };
        let ready: Ready = json("the control server's start", line.as_bytes())?;
        Ok(Self {
            process,
            url: ready.control_url,
        })
    }

    /// Where nodes log in.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The node of this name (short) that logged in last.
    pub async fn node(&self, hostname: &str) -> Result<Node, CallError> {
        let nodes = self.nodes().await?;
        let called = |node: &&Node| node.name.split('.').next() == Some(hostname);
        nodes
            .iter()
            .rfind(called)
            .cloned()
            .ok_or_else(|| CallError::Unexpected {
                what: "/testbed/nodes".to_owned(),
                detail: format!("no node is called {hostname:?}: {nodes:?}"),
            })
    }

    /// Whether a node of this name (short) is in the tailnet, and online.
    pub async fn is_online(&self, hostname: &str) -> Result<bool, CallError> {
        let nodes = self.nodes().await?;
        let called = |node: &Node| node.name.split('.').next() == Some(hostname);
        Ok(nodes.iter().any(|node| node.online && called(node)))
    }

    /// The tailnet's nodes, but for a [crowd](Self::add_crowd). Ephemeral ones are gone when they have logged out.
    pub async fn nodes(&self) -> Result<Vec<Node>, CallError> {
        json(
            "/testbed/nodes",
            &self.ask("GET", "/testbed/nodes", String::new()).await?,
        )
    }

    /// Ends a node's key: it must log in again.
    pub async fn expire(&self, id: i64) -> Result<(), CallError> {
        self.ask("POST", &format!("/testbed/nodes/{id}/expire"), String::new())
            .await
            .map(drop)
    }

    /// The ports of DERP and of STUN, on this machine's address.
    pub async fn derp_ports(&self) -> Result<(u16, u16), CallError> {
        let path = "/testbed/derp-map";
        let map: serde_json::Value = json(path, &self.ask("GET", path, String::new()).await?)?;
        let node = &map["Regions"]["1"]["Nodes"][0];
        let port = |name: &str| node[name].as_u64().and_then(|port| u16::try_from(port).ok());
        port("DERPPort")
            .zip(port("STUNPort"))
            .ok_or_else(|| CallError::Unexpected {
                what: path.to_owned(),
                detail: map.to_string(),
            })
    }

    /// Has the node's peers send what these routes cover through it.
    pub async fn set_routes(&self, id: i64, routes: &[&str]) -> Result<(), CallError> {
        self.ask(
            "PUT",
            &format!("/testbed/nodes/{id}/routes"),
            serde_json::json!(routes).to_string(),
        )
        .await
        .map(drop)
    }

    /// Has the tailnet's resolver know one more name.
    pub async fn add_name(&self, name: &str, address: IpAddr) -> Result<(), CallError> {
        let record = serde_json::json!({"name": name, "address": address});
        self.ask("POST", "/testbed/names", record.to_string()).await.map(drop)
    }

    /// Registrations and log-outs so far of machines of this name (short).
    pub async fn counts(&self, hostname: &str) -> Result<Counts, CallError> {
        let path = "/testbed/counts";
        let counts: BTreeMap<String, Counts> = json(path, &self.ask("GET", path, String::new()).await?)?;
        Ok(counts.get(hostname).copied().unwrap_or_default())
    }

    /// Makes an auth key good, also one that was revoked or used up.
    pub async fn declare_key(&self, key: &str, kind: KeyKind) -> Result<(), CallError> {
        let body = serde_json::json!({"key": key, "reusable": kind.reusable, "ephemeral": kind.ephemeral});
        self.ask("PUT", "/testbed/keys", body.to_string()).await.map(drop)
    }

    /// Refuses an auth key from now on: "invalid key: API key does not exist".
    pub async fn revoke_key(&self, key: &str) -> Result<(), CallError> {
        let body = serde_json::json!({"key": key});
        self.ask("POST", "/testbed/keys/revoke", body.to_string())
            .await
            .map(drop)
    }

    /// Forgets an auth key, as the tailnet does some time after its end: "invalid key: unable to validate API key".
    pub async fn purge_key(&self, key: &str) -> Result<(), CallError> {
        let body = serde_json::json!({"key": key});
        self.ask("POST", "/testbed/keys/purge", body.to_string())
            .await
            .map(drop)
    }

    /// Waits so long before each answer to a node from now on.
    pub async fn delay(&self, by: Duration) -> Result<(), CallError> {
        self.period("/testbed/delay", by).await
    }

    /// Takes nodes' connections and requests for so long, and says nothing, on streams that are open neither. Zero ends it.
    pub async fn be_silent(&self, period: Duration) -> Result<(), CallError> {
        self.period("/testbed/silence", period).await
    }

    async fn period(&self, path: &str, period: Duration) -> Result<(), CallError> {
        let body = serde_json::json!({"millis": period.as_millis()});
        self.ask("PUT", path, body.to_string()).await.map(drop)
    }

    /// Adds machines to the tailnet that nobody is behind.
    pub async fn add_crowd(&self, crowd: &Crowd) -> Result<(), CallError> {
        let body = serde_json::json!(crowd);
        self.ask("POST", "/testbed/crowd", body.to_string()).await.map(drop)
    }

    /// Forgets a node, as the tailnet does with an ephemeral one that was away for long: its peers know it no more, and its
    /// requests are answered with 404.
    pub async fn remove(&self, id: i64) -> Result<(), CallError> {
        self.ask("POST", &format!("/testbed/nodes/{id}/remove"), String::new())
            .await
            .map(drop)
    }

    /// Answers the next `reject` registrations with 429 and a Retry-After of `retry_after`.
    pub async fn limit_registrations(&self, reject: u32, retry_after: Duration) -> Result<(), CallError> {
        let limit = serde_json::json!({"reject": reject, "retryAfterSeconds": retry_after.as_secs()});
        self.ask("PUT", "/testbed/register-limit", limit.to_string())
            .await
            .map(drop)
    }

    /// Changes what becomes of nodes that want to join from here on.
    pub async fn refuse(&self, what: Refusal) -> Result<(), CallError> {
        let (name, words) = match what {
            Refusal::Nothing => ("nothing", ""),
            Refusal::Everything => ("everything", ""),
            Refusal::Unapproved => ("unapproved", ""),
            Refusal::Person => ("person", ""),
            Refusal::WithoutLogs => ("without-logs", ""),
            Refusal::Words(words) => ("in-words", words),
        };
        let body = serde_json::json!({"words": words});
        self.ask("PUT", &format!("/testbed/refusal/{name}"), body.to_string())
            .await
            .map(drop)
    }

    /// Approves all nodes that wait for it.
    pub async fn approve_all(&self) -> Result<(), CallError> {
        self.ask("POST", "/testbed/approve-all", String::new()).await.map(drop)
    }

    async fn ask(&self, method: &str, path: &str, body: String) -> Result<Bytes, CallError> {
        let address = self.url.trim_start_matches("http://");
        let not_connected = |source| CallError::NotConnected {
            address: address.to_owned(),
            source,
        };
        let stream = TcpStream::connect(address).await.map_err(not_connected)?;
        let request = Request::builder().method(method).uri(path).header("host", address);
        succeeded(
            path,
            call(stream, request.body(Full::new(body.into()))?, CALL_LIMIT).await?,
        )
    }
}
