//! A Headscale of one's own, and what its command line is asked for.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use libtest_mimic::Failed;
use serde::Deserialize;
use serde_json::{Value, json};
use testbed::{
    network::ADDRESS,
    process::{Process, command},
    stack::Backends,
};

/// How long it may take to start: it makes a database.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Where it listens, in a network of its own.
const PORT: u16 = 8085;

/// The running control server.
pub(crate) struct Headscale {
    process: Process,
    program: PathBuf,
    config: PathBuf,
    run_dir: PathBuf,
}

/// One of its pre-auth keys.
#[derive(Deserialize)]
pub(crate) struct Key {
    pub(crate) id: u64,
    pub(crate) key: String,
}

impl Headscale {
    /// Starts it, with the DERP and STUN of the backends, and makes a user.
    pub(crate) async fn start(backends: &Backends) -> Result<Self, Failed> {
        let Backends {
            binaries,
            run_dir,
            control,
            ..
        } = backends;
        let program = binaries.control_server.with_file_name("headscale");
        if !program.exists() {
            return Err(format!("{} is not built: run `npm run headscale`", program.display()).into());
        }
        let folder = run_dir.join("headscale");
        // An earlier test's users and machines are none of this one's.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("derp.yaml"), derp_map(control.derp_ports().await?))?;
        let config = folder.join("config.yaml");
        std::fs::write(&config, settings(&folder).to_string())?;
        let mut serve = command(&program, run_dir);
        let process = Process::spawn("headscale", serve.arg("--config").arg(&config).arg("serve"))?;
        let listening = process
            .log()
            .find(0, |line| line.contains("listening and serving HTTP").then_some(()));
        process.ready(START_LIMIT, "its address", listening).await?;
        let headscale = Self {
            process,
            program,
            config,
            run_dir: run_dir.clone(),
        };
        headscale.ask(&["users", "create", "function"]).await?;
        Ok(headscale)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((ADDRESS, PORT))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// A key of the user's; `attributes` are the command line's.
    pub(crate) async fn create_key(&self, attributes: &[&str]) -> Result<Key, Failed> {
        let command = [&["preauthkeys", "create", "--user", "1"], attributes].concat();
        Ok(serde_json::from_value(self.ask(&command).await?)?)
    }

    pub(crate) async fn expire_key(&self, key: &Key) -> Result<(), Failed> {
        self.ask(&["preauthkeys", "expire", "--id", &key.id.to_string()])
            .await
            .map(drop)
    }

    /// The numbers of the machines that are called so.
    pub(crate) async fn machines(&self, name: &str) -> Result<Vec<String>, Failed> {
        let nodes = self.ask(&["nodes", "list"]).await?;
        let nodes = nodes.as_array().cloned().unwrap_or_default();
        let named = nodes.iter().filter(|node| node["name"] == name);
        Ok(named.map(|node| node["id"].to_string()).collect())
    }

    pub(crate) async fn stop(self) {
        self.process.stop(Duration::from_secs(5)).await;
    }

    async fn ask(&self, arguments: &[&str]) -> Result<Value, Failed> {
        let mut command = command(&self.program, &self.run_dir);
        command
            .arg("--config")
            .arg(&self.config)
            .args(arguments)
            .args(["--output", "json"]);
        let output = command.output().await?;
        if output.status.success() {
            return Ok(serde_json::from_slice(&output.stdout)?);
        }
        let words = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        Err(format!("headscale {arguments:?}: {}", words.concat()).into())
    }
}

/// JSON is YAML.
fn settings(folder: &Path) -> Value {
    json!({
        "server_url": format!("http://{ADDRESS}:{PORT}"),
        "listen_addr": format!("{ADDRESS}:{PORT}"),
        "metrics_listen_addr": "127.0.0.1:9095",
        "grpc_listen_addr": "127.0.0.1:50443",
        "noise": {"private_key_path": folder.join("noise.key")},
        "prefixes": {"v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48", "allocation": "sequential"},
        "derp": {
            "server": {"enabled": false},
            "urls": [],
            "paths": [folder.join("derp.yaml")],
            "auto_update_enabled": false,
        },
        "disable_check_updates": true,
        // The shortest that it takes.
        "node": {"ephemeral": {"inactivity_timeout": "66s"}},
        "database": {"type": "sqlite", "sqlite": {"path": folder.join("db.sqlite")}},
        "log": {"level": "info", "format": "text"},
        "policy": {"mode": "file", "path": ""},
        "dns": {
            "magic_dns": true,
            "base_domain": "headscale.test",
            "override_local_dns": false,
            "nameservers": {"global": []},
        },
        "unix_socket": folder.join("headscale.sock"),
        "unix_socket_permission": "0770",
    })
}

fn derp_map((derp, stun): (u16, u16)) -> String {
    format!(
        "regions:\n  900:\n    regionid: 900\n    regioncode: test\n    regionname: Test\n    nodes:\n      \
         - name: 900a\n        regionid: 900\n        hostname: {ADDRESS}\n        ipv4: {ADDRESS}\n        \
         ipv6: none\n        stunport: {stun}\n        stuntestip: {ADDRESS}\n        derpport: {derp}\n        \
         insecurefortests: true\n"
    )
}
