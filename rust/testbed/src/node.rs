//! A machine of the tailnet: a tailscaled in userspace mode, logged in.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

use crate::{
    Error,
    local_api::LocalApi,
    process::{Process, command},
};

/// How long tailscaled may take until its LocalAPI answers.
const LISTENING_LIMIT: Duration = Duration::from_secs(10);
/// How long the login may take. With the control server on the same machine it takes 50 ms.
const LOGIN_LIMIT: Duration = Duration::from_secs(20);

/// How long it may take until another node knows this one, with a try of WireGuard's that is lost.
const MEETING_LIMIT: Duration = Duration::from_secs(15);

/// A running node. In userspace mode a connection to its tailnet address reaches 127.0.0.1 on the same port.
#[derive(Debug)]
pub struct Node {
    /// Its tailscaled.
    pub process: Process,
    /// Its LocalAPI.
    pub local_api: LocalApi,
    hostname: String,
    address: Ipv4Addr,
}

impl Node {
    /// Starts tailscaled, and logs it in under `hostname` at the control server at `control_url`; `socks` is where its SOCKS5
    /// server listens, if anywhere.
    pub async fn start(
        program: &Path,
        hostname: &str,
        socks: Option<SocketAddr>,
        control_url: &str,
        auth_key: &str,
        run_dir: &Path,
    ) -> Result<Self, Error> {
        Self::run(
            command(program, run_dir),
            hostname,
            socks,
            control_url,
            auth_key,
            run_dir,
        )
        .await
    }

    /// The same of a tailscaled that `command` starts.
    pub(crate) async fn run(
        mut command: Command,
        hostname: &str,
        socks: Option<SocketAddr>,
        control_url: &str,
        auth_key: &str,
        run_dir: &Path,
    ) -> Result<Self, Error> {
        let (process, socket) = start_daemon(&mut command, hostname, socks, run_dir).await?;
        let local_api = LocalApi::new(&socket);
        let login = local_api.log_in(control_url, auth_key, hostname);
        process.ready(LOGIN_LIMIT, "its login", login).await??;
        let mut addresses = local_api.addresses().await?.into_iter();
        let address = addresses.find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let address = address.ok_or_else(|| Error::Other(format!("{hostname} has no IPv4 address")))?;
        Ok(Self {
            process,
            local_api,
            hostname: hostname.to_owned(),
            address,
        })
    }

    /// Waits until WireGuard has a session with the node at `address`: from then on, what does not get through is kept out.
    pub async fn wait_for_session(&self, address: IpAddr) -> Result<(), Error> {
        let met = self.local_api.wait_for_session(address);
        self.process
            .ready(MEETING_LIMIT, "its session with another node", met)
            .await?
    }

    /// Its name in the tailnet, short.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Its IPv4 address in the tailnet.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}

/// Starts a tailscaled that is logged in nowhere, its files called `name`. Returns the socket of its LocalAPI, too.
pub async fn start_daemon(
    command: &mut Command,
    name: &str,
    socks: Option<SocketAddr>,
    run_dir: &Path,
) -> Result<(Process, PathBuf), Error> {
    let socket = run_dir.join(format!("{name}.sock"));
    let state = run_dir.join(format!("{name}-state"));
    command
        .args(["--tun=userspace-networking", "--state=mem:"])
        .arg(format!("--statedir={}", state.display()))
        .arg(format!("--socket={}", socket.display()))
        .args(socks.map(|address| format!("--socks5-server={address}")))
        .env("TS_NO_LOGS_NO_SUPPORT", "true");
    let process = Process::spawn(&format!("tailscaled of the node {name:?}"), command)?;
    let listening = LocalApi::new(&socket);
    process
        .ready(LISTENING_LIMIT, "its LocalAPI", listening.listening())
        .await?;
    Ok((process, socket))
}
