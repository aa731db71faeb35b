//! Clients that know nothing of this project, and the function that runs them.

use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use serde_json::{Value, json};
use testbed::{
    bundle::build_go,
    lambda::Function,
    scripted_handler,
    stack::{Backends, TestStack},
    suite::{SuiteContext, set},
};

use crate::{
    javascript::{self, NODE},
    python, rust_clients,
};

/// The variables that `proxyEnvironment` sets; a jest test holds them to this list.
const PROXY: &str = "http://127.0.0.1:1055";
const NO_PROXY: &str = "localhost,127.0.0.1,::1,169.254.169.254,169.254.170.2,169.254.170.23,169.254.79.129,.amazonaws.com,\
                        .amazonaws.com.cn,.api.aws,.on.aws";

/// Sets what `proxyEnvironment: true` sets.
pub(crate) fn proxy_environment(function: &mut Function) {
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        set(function, name, PROXY);
        set(function, &name.to_lowercase(), PROXY);
    }
    set(function, "NO_PROXY", NO_PROXY);
    set(function, "no_proxy", NO_PROXY);
    set(function, "NODE_USE_ENV_PROXY", "1");
}

/// A command line that gets a URL, and the client's name.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) command: Vec<&'static str>,
}

/// The function's zip with all clients that this machine can run, and these; the others are named.
pub(crate) async fn packed(context: &SuiteContext) -> Result<(PathBuf, Vec<Client>), Failed> {
    let own = context.binaries.root.join("rust/testbed/tests/local_ports/clients");
    let mut files = Vec::new();
    let mut clients = Vec::new();
    let mut add = |name, command: &[&'static str]| {
        let command = command.to_vec();
        clients.push(Client { name, command });
    };
    add("curl", &["/usr/bin/curl", "-sS", "-w", "\n%{http_code}"]);
    files.push(("get.py".to_owned(), own.join("get.py")));
    files.extend(python::files(
        context,
        &[&python::REQUESTS[..], &python::HTTPX].concat(),
    )?);
    add("Python requests", &[python::PYTHON, "/var/task/get.py", "requests"]);
    add("Python httpx", &[python::PYTHON, "/var/task/get.py", "httpx"]);
    files.push(("reqwest".to_owned(), std::env::current_exe()?));
    add("Rust reqwest", &["/var/task/reqwest", rust_clients::REQWEST]);
    let go = context.run_dir.join("go-client");
    if !build_go(&own.join("client.go"), &go) {
        return Err("`go build` does not work here".into());
    }
    files.push(("go-client".to_owned(), go));
    add("Go net/http", &["/var/task/go-client"]);
    files.push(("fetch.mjs".to_owned(), own.join("fetch.mjs")));
    files.extend(javascript::files(context, &["axios_client"]).await?);
    add("Node fetch", &[NODE, "/var/task/fetch.mjs"]);
    add("Node axios", &[NODE, "/var/task/axios_client.js"]);
    files.push(("Client.java".to_owned(), own.join("Client.java")));
    if Path::new("/usr/bin/java").exists() {
        add(
            "Java HttpClient",
            &["/usr/bin/java", "-XX:TieredStopAtLevel=1", "/var/task/Client.java"],
        );
    } else {
        eprintln!("    Java's client is not tested: there is no /usr/bin/java");
    }
    Ok((scripted_handler::build_with(context, "clients", &files)?, clients))
}

/// Deploys the function with all clients.
pub(crate) async fn deploy(
    backends: Backends,
    handler: &Path,
    adjust: impl FnOnce(&mut Function),
) -> Result<TestStack, Failed> {
    let deployed = backends.deploy(|function| {
        scripted_handler::install(function, handler);
        adjust(function);
    });
    Ok(deployed.await?)
}

/// Has the function run a client.
pub(crate) async fn run(stack: &TestStack, command: &[&str]) -> Result<Value, Failed> {
    scripted_handler::run(stack, json!({"do": "run", "command": command})).await
}

/// Starts a program that goes on from one invocation to the next.
pub(crate) async fn start(stack: &TestStack, session: &str, command: &[&str]) -> Result<(), Failed> {
    let started = scripted_handler::run(stack, json!({"do": "start", "session": session, "command": command})).await?;
    assert_eq!(started, "started");
    Ok(())
}

/// Says a line to it, and returns its answer, and after how many milliseconds that came.
pub(crate) async fn say(stack: &TestStack, session: &str, line: &str) -> Result<(String, u64), Failed> {
    let answer = scripted_handler::run(stack, json!({"do": "say", "session": session, "line": line})).await?;
    let said = answer["line"].as_str();
    let said = said.ok_or_else(|| Failed::from(format!("{answer}\n{}", stack.log())))?;
    Ok((said.to_owned(), answer["ms"].as_u64().unwrap_or_default()))
}
