//! From registration to SHUTDOWN: the order of things that Lambda asks of an extension.

use std::{
    io,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use settings::SettingError;
use thiserror::Error;
use tokio::{
    join, select,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::{
    config::Config,
    credentials::Keys,
    extensions_api::{ApiError, Event, Events, ExtensionsApi, Host},
    front::{self, Front},
    guide::Guide,
    netmap::Uncovered,
    status_server::StatusServer,
    tailnet::{Handle, Tailnet},
    tailscaled::Program,
};

/// How long the login may hold up INIT, which has 10 s for all: after it, requests are told why they cannot pass.
///
/// SHUTDOWN is not heard meanwhile, and cannot be: it is an answer to a request for the next event, and the first one of
/// these ends INIT. Where the runtime dies in INIT, Lambda kills a login that takes longer than SHUTDOWN's 2 s; a machine
/// that it may have made is an ephemeral one. <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>
const INIT_LIMIT: Duration = Duration::from_millis(8500);

/// What ends the extension before its time.
#[derive(Debug, Error)]
pub enum Fatal {
    /// Who deployed the function must mend its settings.
    #[error(transparent)]
    Config(#[from] SettingError),
    /// Lambda's side does not answer as it should: it will renew the environment.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The function must not start without the tailnet, and there is none.
    #[error("not in the tailnet: {0}")]
    NoTailnet(String),
    /// Something of the operating system is missing.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// What the owner of the function decided, and where the extension is found.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Where the proxy asks.
    pub endpoint: PathBuf,
    /// What becomes of targets that the tailnet does not cover.
    pub uncovered: Uncovered,
    /// How a handler is served that is not the proxy.
    pub front: Option<front::Terms>,
    /// The function must not start without the tailnet.
    pub require_tailnet: bool,
}

/// Lives from registration to SHUTDOWN or SIGTERM, with the tailnet that `program` and `keys` bring.
pub async fn run(
    config: &Config,
    program: impl Program,
    keys: impl Keys,
    endpoint: impl Into<PathBuf>,
) -> Result<(), Fatal> {
    // Before anything can be asked to end.
    let mut terminated = signal(SignalKind::terminate()).map_err(|source| Fatal::System {
        what: "SIGTERM cannot be awaited",
        source,
    })?;
    // Registering is the first thing on the wire, because Lambda starts the runtime only after it; tailscaled comes up
    // while the answer is on its way.
    let (host, tailnet) = join!(ExtensionsApi::register(&config.runtime_api, config.events), async {
        Tailnet::start(config, program, keys)
    });
    let terms = Terms {
        endpoint: endpoint.into(),
        uncovered: config.uncovered,
        front: config.front,
        require_tailnet: config.require_tailnet,
    };
    match host {
        Ok(host) => live(host, tailnet, &terms, terminated.recv()).await,
        Err(error) => {
            tailnet.stop().await;
            Err(error.into())
        }
    }
}

/// Does what `host` asks, until it or `terminated` says that this is the end; then leaves the tailnet.
pub async fn live<T>(
    mut host: impl Host,
    tailnet: Tailnet,
    terms: &Terms,
    terminated: impl Future<Output = T>,
) -> Result<(), Fatal> {
    let end = serve(&mut host, &tailnet, terms, terminated).await;
    tailnet.stop().await;
    end
}

async fn serve<T>(
    host: &mut impl Host,
    tailnet: &Tailnet,
    terms: &Terms,
    terminated: impl Future<Output = T>,
) -> Result<(), Fatal> {
    let (endpoint, front) = match doors(tailnet, terms).await {
        Ok(doors) => doors,
        Err((error_type, error)) => {
            host.init_error(error_type, &error.to_string()).await?;
            return Err(error);
        }
    };
    let mut tailnet = tailnet.handle();
    let ending = async {
        let phase = tailnet.settled(INIT_LIMIT).await;
        if terms.require_tailnet
            && let Some(reason) = phase.why_not()
        {
            host.init_error("Extension.TailnetUnavailable", &reason).await?;
            return Err(Fatal::NoTailnet(reason));
        }
        Ok(until_shutdown(host, tailnet).await?)
    };
    select! {
        end = ending => end,
        _ = terminated => Ok(()),
        () = endpoint.serve() => Ok(()),
        () = served(front) => Ok(()),
    }
}

/// Opens what the function's processes come to; or says what kind of error it is to Lambda that one cannot be opened.
async fn doors(tailnet: &Tailnet, terms: &Terms) -> Result<(StatusServer, Option<Front>), (&'static str, Fatal)> {
    let guide = Guide::new(tailnet.handle());
    let endpoint = StatusServer::bind(&terms.endpoint, guide.clone(), terms.uncovered).map_err(|source| {
        let what = "the status endpoint cannot be opened";
        ("Extension.StatusEndpoint", Fatal::System { what, source })
    })?;
    let Some(front) = terms.front else {
        return Ok((endpoint, None));
    };
    let front = Front::bind(front, guide).await.map_err(|source| {
        let what = "the SOCKS5 server on localhost:1055 cannot be opened";
        ("Extension.SocksServer", Fatal::System { what, source })
    })?;
    Ok((endpoint, Some(front)))
}

async fn served(front: Option<Front>) {
    match front {
        Some(front) => front.serve().await,
        None => std::future::pending().await,
    }
}

async fn until_shutdown(host: &mut impl Host, mut tailnet: Handle) -> Result<(), ApiError> {
    loop {
        match host.next().await? {
            // It may come after a freeze: the link is looked after at once, whether or not the function asks. When the
            // function's time is up, SHUTDOWN may follow, and is heard by those alone who ask for it.
            Event::Invoke { deadline_ms } => {
                let left = left_until(deadline_ms);
                if timeout(left, tailnet.invoked()).await.is_err() {
                    tracing::warn!("the function's time was up while its tailnet was looked after");
                }
            }
            Event::Shutdown { shutdown_reason } => {
                tracing::debug!("the environment ends: {shutdown_reason:?}");
                return Ok(());
            }
        }
    }
}

/// How long it is until `deadline_ms` after 1970, by the wall clock: the others stood still in a freeze.
fn left_until(deadline_ms: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(deadline_ms).saturating_sub(now)
}

/// Tells Lambda why the extension does not start, so that its logs show more than an exit code.
pub async fn refuse(runtime_api: &str, error: &SettingError) -> Result<(), ApiError> {
    ExtensionsApi::register(runtime_api, Events::ShutdownOnly)
        .await?
        .init_error("Extension.InvalidConfiguration", &error.to_string())
        .await
}
