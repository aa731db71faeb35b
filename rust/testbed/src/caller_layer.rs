//! The caller's extension, as it ships, outside a function: HTTP clients of this machine are the function's code.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{Request, Response};
use libtest_mimic::Failed;
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};

use crate::{
    Error,
    binaries::Binaries,
    http_server::serve_all,
    invoke_api::InvokeApi,
    lambda::function_arn,
    process::{Process, command},
    signed::REGION,
};

/// Where it listens.
pub const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8055);
const EXTENSION: &str = "extensions/tailscale-caller";
const START_LIMIT: Duration = Duration::from_secs(10);

/// The running extension.
#[derive(Debug)]
pub struct CallerLayer {
    /// Its process.
    pub process: Process,
    /// Ends with it.
    _extensions_api: JoinSet<()>,
}

impl CallerLayer {
    /// Starts it for the Function URL at `url` (`host:port`), with the credentials of the calling function's role.
    pub async fn start(binaries: &Binaries, run_dir: &Path, url: &str, role: &Credentials) -> Result<Self, Failed> {
        let proxy = [("TS_PROXY_URL", format!("http://{url}/"))];
        Self::start_with(binaries, run_dir, &proxy, role).await
    }

    /// Starts it for the proxy's function behind `api`, with the credentials of the API's caller; `alias` is empty, or begins
    /// with a colon.
    pub async fn start_by_invoke(
        binaries: &Binaries,
        run_dir: &Path,
        api: &InvokeApi,
        alias: &str,
    ) -> Result<Self, Failed> {
        let proxy = [
            ("TS_PROXY_FUNCTION", function_arn(alias)),
            ("AWS_ENDPOINT_URL_LAMBDA", api.endpoint()),
        ];
        Self::start_with(binaries, run_dir, &proxy, &api.caller).await
    }

    async fn start_with(
        binaries: &Binaries,
        run_dir: &Path,
        proxy: &[(&str, String)],
        role: &Credentials,
    ) -> Result<Self, Failed> {
        let program = unpack(&binaries.caller_zip, run_dir)?;
        let ready = Arc::new(Notify::new());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut command = command(&program, run_dir);
        command
            .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "billing")
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", role.access_key_id())
            .env("AWS_SECRET_ACCESS_KEY", role.secret_access_key())
            .envs(proxy.iter().cloned());
        command.envs(role.session_token().map(|token| ("AWS_SESSION_TOKEN", token)));
        let mut api = JoinSet::new();
        let registered = Arc::clone(&ready);
        api.spawn(serve_all(listener, move |request| {
            answer(request, Arc::clone(&registered))
        }));
        let process = Process::spawn("tailscale-caller", &mut command)?;
        process
            .ready(START_LIMIT, "its request for an event", ready.notified())
            .await?;
        Ok(Self {
            process,
            _extensions_api: api,
        })
    }
}

/// Registers whoever comes, and never has an event.
async fn answer(request: Request<Bytes>, ready: Arc<Notify>) -> Result<Response<Bytes>, Error> {
    if request.uri().path().ends_with("/next") {
        ready.notify_one();
        std::future::pending::<()>().await;
    }
    let response = Response::builder().header("lambda-extension-identifier", "testbed");
    Ok(response.body("{}".into())?)
}

fn unpack(zip: &Path, run_dir: &Path) -> Result<PathBuf, Failed> {
    let program = run_dir.join("tailscale-caller");
    if !program.exists() {
        let mut archive = zip::ZipArchive::new(File::open(zip)?)?;
        io::copy(&mut archive.by_name(EXTENSION)?, &mut File::create(&program)?)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    }
    Ok(program)
}
