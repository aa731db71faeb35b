//! local-lambda with the shipped zips in it, and what it tells of itself.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use aws_credential_types::Credentials;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    Error,
    binaries::{Binaries, architecture},
    deadline::{TimedOut, within},
    distance::{FUNCTION_SIDE, Link},
    error::failed,
    log::History,
    network::ADDRESS,
    process::{Process, command},
    signed::REGION,
};

pub use crate::event::Event;

/// The proxy's function, and the account it is in.
const PROXY_NAME: &str = "tailscale-proxy";
const ACCOUNT: &str = "123456789012";
const NOT_WRITTEN: &str = "function.json cannot be written";
const NO_URL: &str = "local-lambda did not say where the URL is, but";
pub(crate) const NOT_FORWARDED: &str = "no port for the function's URL";
/// How long local-lambda may take until the URL can be called; it unzips the function and its layer first.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long local-lambda may take to answer a signal.
const SIGNAL_LIMIT: Duration = Duration::from_secs(5);
/// How long an environment may take to come into a state.
const STATE_LIMIT: Duration = Duration::from_secs(15);

/// What the deployed function would be.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its environment variables.
    pub environment: BTreeMap<String, String>,
    /// Who may call the URL.
    pub callers: Vec<Credentials>,
    /// Other fields of function.json, over the testbed's own: `maxEnvironments`, `freeze`, `cpuQuota`, ...
    pub settings: BTreeMap<String, Value>,
}

impl Function {
    /// function.json.
    fn describe(&self, binaries: &Binaries) -> Value {
        let mut description = json!({
            "functionName": PROXY_NAME,
            "handlerZip": binaries.proxy_zip,
            "layerZips": [binaries.extension_zip],
            "architecture": architecture(),
            "memoryMb": 256,
            "timeoutSeconds": 30,
            "region": REGION,
            "accountId": ACCOUNT,
            "environment": self.environment,
            "invokeMode": "BUFFERED",
            "callers": self.callers.iter().map(credentials).collect::<Vec<_>>(),
            "executionRole": credentials(&Credentials::new(
                "ASIAEXECUTIONROLE", "execution-role-secret", Some("execution-role-token".into()), None, "testbed",
            )),
        });
        for (field, value) in &self.settings {
            description[field] = value.clone();
        }
        description
    }

    /// The names of the aliases that its settings give it.
    fn aliases(&self) -> impl Iterator<Item = &str> {
        let aliases = self.settings.get("aliases").and_then(Value::as_array);
        aliases.into_iter().flatten().filter_map(Value::as_str)
    }
}

/// The ARN of the proxy's function; `alias` is empty, or begins with a colon.
pub fn function_arn(alias: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{PROXY_NAME}{alias}")
}

fn credentials(of: &Credentials) -> Value {
    let mut fields = json!({"accessKeyId": of.access_key_id(), "secretAccessKey": of.secret_access_key()});
    if let Some(token) = of.session_token() {
        fields["sessionToken"] = token.into();
    }
    fields
}

/// The running Lambda host.
#[derive(Debug)]
pub struct LocalLambda {
    /// Its process; its log holds the function's own lines.
    pub process: Process,
    /// What it told.
    pub events: History<Event>,
    address: String,
    alias_addresses: BTreeMap<String, String>,
    invoke_address: String,
}

impl LocalLambda {
    /// Starts it with `function`, which gets its first environment when it is called; at the other end of `link`, if there is one.
    pub async fn start(
        binaries: &Binaries,
        function: &Function,
        run_dir: &Path,
        link: Option<&Link>,
    ) -> Result<Self, Error> {
        let folder = own_folder(run_dir).map_err(failed(NOT_WRITTEN))?;
        let config = folder.join("function.json");
        std::fs::write(&config, function.describe(binaries).to_string()).map_err(failed(NOT_WRITTEN))?;
        let mut command = match link {
            None => command(&binaries.local_lambda, run_dir),
            Some(link) => link.command(&binaries.local_lambda, run_dir),
        };
        command.arg("--config").arg(&config).args(["--listen", "127.0.0.1:0"]);
        // Where other functions' environments reach it.
        let invoke_address = link.map_or(ADDRESS, |_| FUNCTION_SIDE);
        command.args(["--listen-invoke", &format!("{invoke_address}:0")]);
        for alias in function.aliases() {
            command.args(["--listen-alias", &format!("{alias}=127.0.0.1:0")]);
        }
        let (process, lines) = Process::spawn_reading("local-lambda", &mut command)?;
        let events = History::default();
        tokio::spawn(read_events(lines, events.clone(), process.log().clone()));
        let first = process
            .ready(
                START_LIMIT,
                "its URL",
                events.find(0, |event| Some(Event::clone(event))),
            )
            .await?;
        let Event::Ready {
            url,
            invoke_url: Some(invoke_url),
            alias_urls,
        } = first
        else {
            return Err(failed(NO_URL)(format!("{first:?}")));
        };
        let address = |url: &str| url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let reachable = |url: &str| -> Result<String, Error> {
            let Some(link) = link else { return Ok(address(url)) };
            let listening = address(url).parse();
            let listening = listening.map_err(|_| failed(NO_URL)(url))?;
            let forwarded = link.forward(listening).map_err(failed(NOT_FORWARDED))?;
            Ok(forwarded.to_string())
        };
        let alias_addresses = alias_urls
            .iter()
            .map(|(alias, url)| Ok((alias.clone(), reachable(url)?)))
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            process,
            events,
            address: reachable(&url)?,
            alias_addresses,
            invoke_address: address(&invoke_url),
        })
    }

    /// Ends its environments as the service does by and by, a busy one as soon as it is idle; returns their numbers.
    pub async fn spin_down(&self) -> Result<Vec<u64>, TimedOut> {
        let since = self.events.len();
        self.process.signal(Signal::SIGUSR1).await;
        let taken = self.events.find(since, |event| match event {
            Event::Spindown { environments } => Some(environments.clone()),
            _ => None,
        });
        within(SIGNAL_LIMIT, "local-lambda's word that environments end", taken).await
    }

    /// Ends the environment that was called after event number `since`, once it rests.
    pub async fn retire(&self, since: usize) -> Result<(), Error> {
        self.reached(since, "frozen").await?;
        self.spin_down().await?;
        Ok(self.reached(since, "stopped").await?)
    }

    /// Waits until an environment came into this state, from event number `since` on.
    pub async fn reached(&self, since: usize, wanted: &str) -> Result<(), TimedOut> {
        let reached = self.events.find(since, |event| {
            matches!(event, Event::Environment { state, .. } if state == wanted).then_some(())
        });
        within(STATE_LIMIT, &format!("an environment that is {wanted}"), reached).await
    }

    /// `host:port` of the Function URL.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `host:port` of the Function URL of an alias, if the function has it.
    pub fn alias_address(&self, alias: &str) -> Option<&str> {
        self.alias_addresses.get(alias).map(String::as_str)
    }

    /// `host:port` of Lambda's Invoke API.
    pub fn invoke_address(&self) -> &str {
        &self.invoke_address
    }
}

/// A folder for one start: there can be several functions, and one that was killed may still be on its way out.
fn own_folder(run_dir: &Path) -> std::io::Result<PathBuf> {
    static STARTS: AtomicUsize = AtomicUsize::new(1);
    let folder = run_dir.join(format!("local-lambda-{}", STARTS.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir(&folder)?;
    Ok(folder)
}

async fn read_events(mut lines: mpsc::Receiver<String>, events: History<Event>, log: History<String>) {
    while let Some(line) = lines.recv().await {
        match serde_json::from_str(&line) {
            Ok(event) => events.push(event),
            Err(error) => log.push(format!("[not an event: {error}] {line}")),
        }
    }
}
