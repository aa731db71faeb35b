//! From registration to SHUTDOWN: what Lambda asks of an extension, in order.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use lambda_env::{
    SettingError,
    extensions_api::{ApiError, Event, Events, ExtensionsApi, LambdaRuntime},
};
use thiserror::Error;
use tokio::{
    join, select,
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use crate::{
    auth::key_source::KeySource,
    clock::{Clock, SystemClock},
    config::Config,
    doors::{
        config::DoorsConfig,
        flow::Thaws,
        listeners::{Doors, ListenError},
    },
    ipc::StatusServer,
    policy::Uncovered,
    preflight::Preflight,
    supervisor::{
        exit_node::ExitNode,
        process::Supervisor,
        state::{Join, Unavailable},
    },
    tailscaled::process::Program,
};

/// The name of the extension's file in `/opt/extensions`.
const NAME: &str = "tailscale-extension";

/// How long the login may hold up INIT, which has 10 s for all: after it, requests are told why they cannot pass.
///
/// SHUTDOWN is not heard meanwhile, and cannot be: it is an answer to a request for the next event, and the first one of
/// these ends INIT. Where the runtime dies in INIT, Lambda kills a login that takes longer than SHUTDOWN's 2 s; a machine
/// that it may have made is an ephemeral one. <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>
const INIT_LIMIT: Duration = Duration::from_millis(8500);

/// What ends the extension before its time.
#[derive(Debug, Error)]
pub enum Fatal {
    /// The settings are wrong: whoever deployed the function must correct them.
    #[error(transparent)]
    Config(#[from] SettingError),
    /// The Extensions API failed: Lambda will renew the environment.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The function must not start without the tailnet, and there is none.
    #[error("not in the tailnet: {0}")]
    NoTailnet(Unavailable),
    /// A port for the function's processes cannot be opened: something else has it.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Something of the operating system is missing.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// What the extension serves, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The status socket, where the proxy asks.
    pub status_socket: PathBuf,
    /// Whether targets that the tailnet does not cover may be dialled.
    pub uncovered: Uncovered,
    /// What listens for handlers that are not the proxy.
    pub doors: DoorsConfig,
    /// The exit node that was configured.
    pub exit_node: Option<ExitNode>,
    /// The function must not start without the tailnet.
    pub require_tailnet: bool,
    /// When the tailnet is joined.
    pub join: Join,
}

impl Options {
    /// Those of `config`.
    pub fn new(config: &Config, status_socket: impl Into<PathBuf>) -> Self {
        Self {
            status_socket: status_socket.into(),
            uncovered: config.uncovered,
            doors: config.doors.clone(),
            exit_node: config.exit_node.clone(),
            require_tailnet: config.require_tailnet,
            join: config.join,
        }
    }
}

/// Lives from registration to SHUTDOWN or SIGTERM, with the tailnet that `program` and `keys` bring.
pub async fn run(
    config: &Config,
    program: impl Program,
    keys: impl KeySource,
    status_socket: impl Into<PathBuf>,
) -> Result<(), Fatal> {
    // Before anything can be asked to end.
    let mut terminated = signal(SignalKind::terminate()).map_err(|source| Fatal::System {
        what: "SIGTERM cannot be awaited",
        source,
    })?;
    let clock: Clock = Arc::new(SystemClock);
    // Registering is the first thing on the wire, because Lambda starts the runtime only after it; tailscaled comes up
    // while the response is on its way.
    let (lambda, supervisor) = join!(
        ExtensionsApi::register(&config.runtime_api, NAME, config.events),
        async { Supervisor::start(config, Arc::clone(&clock), program, keys) }
    );
    let options = Options::new(config, status_socket);
    match lambda {
        Ok(lambda) => live(lambda, supervisor, &options, clock, terminated.recv()).await,
        Err(error) => {
            supervisor.stop().await;
            Err(error.into())
        }
    }
}

/// Follows `lambda`'s events, until it or `terminated` ends the environment; then leaves the tailnet.
pub async fn live<T>(
    mut lambda: impl LambdaRuntime,
    supervisor: Supervisor,
    options: &Options,
    clock: Clock,
    terminated: impl Future<Output = T>,
) -> Result<(), Fatal> {
    let end = serve(&mut lambda, &supervisor, options, &clock, terminated).await;
    supervisor.stop().await;
    end
}

async fn serve<T>(
    lambda: &mut impl LambdaRuntime,
    supervisor: &Supervisor,
    options: &Options,
    clock: &Clock,
    terminated: impl Future<Output = T>,
) -> Result<(), Fatal> {
    let preflight = Preflight::new(supervisor, options.uncovered, options.exit_node.as_ref());
    let (status, doors) = match open_listeners(&preflight, options).await {
        Ok(listeners) => listeners,
        Err((error_type, error)) => {
            lambda.init_error(error_type, &error.to_string()).await?;
            return Err(error);
        }
    };
    let tailnet = supervisor.tailnet();
    let thaws = doors.thaws();
    let ending = async {
        let limit = if options.join == Join::Init {
            INIT_LIMIT
        } else {
            Duration::ZERO
        };
        let deadline = Instant::now() + limit;
        match tailnet.wait_until_settled(deadline).await.unavailable() {
            Some(unavailable) if options.require_tailnet => {
                let message = unavailable.to_string();
                lambda.init_error("Extension.TailnetUnavailable", &message).await?;
                return Err(Fatal::NoTailnet(unavailable));
            }
            Some(_) => {}
            None => tailnet.wait_until_warm(deadline).await,
        }
        Ok(until_shutdown(lambda, &preflight, &thaws, clock).await?)
    };
    select! {
        end = ending => end,
        _ = terminated => Ok(()),
        () = supervisor.minutes().keep_telling() => Ok(()),
        () = status.serve() => Ok(()),
        () = doors.serve() => Ok(()),
    }
}

/// Opens the listeners for the function's processes; or says what kind of error it is to Lambda that one cannot be opened.
async fn open_listeners(
    preflight: &Preflight,
    options: &Options,
) -> Result<(StatusServer, Doors), (&'static str, Fatal)> {
    let status = StatusServer::bind(&options.status_socket, preflight.clone()).map_err(|source| {
        let what = "the status socket cannot be opened";
        ("Extension.StatusSocket", Fatal::System { what, source })
    })?;
    let doors = Doors::bind(&options.doors, preflight).await;
    let doors = doors.map_err(|error| ("Extension.ListenFailed", error.into()))?;
    Ok((status, doors))
}

async fn until_shutdown(
    lambda: &mut impl LambdaRuntime,
    preflight: &Preflight,
    thaws: &Thaws,
    clock: &Clock,
) -> Result<(), ApiError> {
    loop {
        let (path, paused) = (preflight.path(), clock.now());
        match lambda.next().await? {
            // It may come after a freeze: the path is looked at, whether or not the function asks. When the function's time is
            // up, SHUTDOWN may follow, and only an extension that asks for it hears it.
            Event::Invoke { deadline_ms } => {
                let left = left_until(deadline_ms, clock);
                let began = clock.now();
                if let Err(error) = preflight.invoked(Instant::now() + left).await {
                    tracing::debug!("the tailnet cannot be used: {error}");
                }
                thaws.announce(path, preflight.path(), paused, began);
            }
            Event::Shutdown { shutdown_reason } => {
                tracing::debug!("the environment ends: {shutdown_reason:?}");
                return Ok(());
            }
        }
    }
}

/// How long it is until `deadline_ms` after 1970, by the wall clock: the monotonic one stands still in a freeze.
fn left_until(deadline_ms: u64, clock: &Clock) -> Duration {
    let now = clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(deadline_ms).saturating_sub(now)
}

/// Tells Lambda why the extension does not start, so that its logs show more than an exit code.
pub async fn refuse(runtime_api: &str, error: &SettingError) -> Result<(), ApiError> {
    ExtensionsApi::register(runtime_api, NAME, Events::ShutdownOnly)
        .await?
        .init_error("Extension.InvalidConfiguration", &error.to_string())
        .await
}
