//! The control server, with DERP and STUN, and what a test may ask of it.

use std::{collections::BTreeMap, net::IpAddr, path::Path, process::Stdio, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    Error,
    http_call::{self, call, connect, succeeded, unexpected},
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
    /// Whether it is gone when it logs out.
    pub ephemeral: bool,
}

impl Node {
    /// Whether this is its short name.
    fn is_called(&self, hostname: &str) -> bool {
        self.name.split('.').next() == Some(hostname)
    }
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

impl Crowd {
    /// One for a tailnet of so many machines, some of them environments of the function; one in a hundred is online.
    pub fn of(machines: usize, siblings: usize) -> Self {
        Self {
            peers: machines - siblings,
            online: machines / 100,
            siblings,
            hostname: "lambda-proxy".to_owned(),
            tags: Vec::new(),
        }
    }
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
            return Err(Error::Other(process.exited().await.to_string()));
        };
        let ready: Ready = http_call::json("the control server's start", line.as_bytes())?;
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
    pub async fn node(&self, hostname: &str) -> Result<Node, Error> {
        let nodes = self.nodes().await?;
        let found = nodes.iter().rfind(|node| node.is_called(hostname)).cloned();
        found.ok_or_else(|| Error::Other(format!("no node is called {hostname:?}: {nodes:?}")))
    }

    /// Whether a node of this name (short) is in the tailnet, and online.
    pub async fn is_online(&self, hostname: &str) -> Result<bool, Error> {
        let nodes = self.nodes().await?;
        Ok(nodes.iter().any(|node| node.online && node.is_called(hostname)))
    }

    /// The tailnet's nodes, but for a [crowd](Self::add_crowd). Ephemeral ones are gone when they have logged out.
    pub async fn nodes(&self) -> Result<Vec<Node>, Error> {
        self.get("/testbed/nodes").await
    }

    /// Ends a node's key: it must log in again.
    pub async fn expire(&self, id: i64) -> Result<(), Error> {
        self.tell("POST", &format!("/testbed/nodes/{id}/expire"), json!({}))
            .await
    }

    /// The ports of DERP and of STUN, on this machine's address.
    pub async fn derp_ports(&self) -> Result<(u16, u16), Error> {
        let path = "/testbed/derp-map";
        let map: Value = self.get(path).await?;
        let node = &map["Regions"]["1"]["Nodes"][0];
        let port = |name: &str| node[name].as_u64().and_then(|port| u16::try_from(port).ok());
        let ports = port("DERPPort").zip(port("STUNPort"));
        ports.ok_or_else(|| unexpected(path, map))
    }

    /// Has the node's peers send what these routes cover through it.
    pub async fn set_routes(&self, id: i64, routes: &[&str]) -> Result<(), Error> {
        let path = format!("/testbed/nodes/{id}/routes");
        self.tell("PUT", &path, json!(routes)).await
    }

    /// Has the tailnet's resolver know one more name.
    pub async fn add_name(&self, name: &str, address: IpAddr) -> Result<(), Error> {
        let record = json!({"name": name, "address": address});
        self.tell("POST", "/testbed/names", record).await
    }

    /// Registrations and log-outs so far of machines of this name (short).
    pub async fn counts(&self, hostname: &str) -> Result<Counts, Error> {
        let counts: BTreeMap<String, Counts> = self.get("/testbed/counts").await?;
        Ok(counts.get(hostname).copied().unwrap_or_default())
    }

    /// Makes an auth key good, also one that was revoked or used up.
    pub async fn declare_key(&self, key: &str, kind: KeyKind) -> Result<(), Error> {
        let body = json!({"key": key, "reusable": kind.reusable, "ephemeral": kind.ephemeral});
        self.tell("PUT", "/testbed/keys", body).await
    }

    /// Refuses an auth key from now on: "invalid key: API key does not exist".
    pub async fn revoke_key(&self, key: &str) -> Result<(), Error> {
        let body = json!({"key": key});
        self.tell("POST", "/testbed/keys/revoke", body).await
    }

    /// Forgets an auth key, as the tailnet does some time after its end: "invalid key: unable to validate API key".
    pub async fn purge_key(&self, key: &str) -> Result<(), Error> {
        let body = json!({"key": key});
        self.tell("POST", "/testbed/keys/purge", body).await
    }

    /// Takes nodes' connections and requests for so long, and says nothing, on streams that are open neither. Zero ends it.
    pub async fn be_silent(&self, period: Duration) -> Result<(), Error> {
        let body = json!({"millis": period.as_millis()});
        self.tell("PUT", "/testbed/silence", body).await
    }

    /// Adds machines to the tailnet that nobody is behind.
    pub async fn add_crowd(&self, crowd: &Crowd) -> Result<(), Error> {
        self.tell("POST", "/testbed/crowd", json!(crowd)).await
    }

    /// Forgets a node, as the tailnet does with an ephemeral one that was away for long: its peers know it no more, and its
    /// requests are answered with 404.
    pub async fn remove(&self, id: i64) -> Result<(), Error> {
        self.tell("POST", &format!("/testbed/nodes/{id}/remove"), json!({}))
            .await
    }

    /// Answers the next `reject` registrations with 429 and a Retry-After of `retry_after`.
    pub async fn limit_registrations(&self, reject: u32, retry_after: Duration) -> Result<(), Error> {
        let limit = json!({"reject": reject, "retryAfterSeconds": retry_after.as_secs()});
        self.tell("PUT", "/testbed/register-limit", limit).await
    }

    /// Changes what becomes of nodes that want to join from here on.
    pub async fn refuse(&self, what: Refusal) -> Result<(), Error> {
        let (name, words) = match what {
            Refusal::Nothing => ("nothing", ""),
            Refusal::Everything => ("everything", ""),
            Refusal::Unapproved => ("unapproved", ""),
            Refusal::Person => ("person", ""),
            Refusal::WithoutLogs => ("without-logs", ""),
            Refusal::Words(words) => ("in-words", words),
        };
        let path = format!("/testbed/refusal/{name}");
        self.tell("PUT", &path, json!({"words": words})).await
    }

    /// Approves all nodes that wait for it.
    pub async fn approve_all(&self) -> Result<(), Error> {
        self.tell("POST", "/testbed/approve-all", json!({})).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        http_call::json(path, &self.ask("GET", path, String::new()).await?)
    }

    async fn tell(&self, method: &str, path: &str, body: Value) -> Result<(), Error> {
        self.ask(method, path, body.to_string()).await.map(drop)
    }

    async fn ask(&self, method: &str, path: &str, body: String) -> Result<Bytes, Error> {
        let address = self.url.trim_start_matches("http://");
        let request = Request::builder().method(method).uri(path).header("host", address);
        let request = request.body(Full::new(body.into()))?;
        succeeded(path, call(connect(address).await?, request, CALL_LIMIT).await?)
    }
}
