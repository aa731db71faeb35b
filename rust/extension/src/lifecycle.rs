//! From registration to SHUTDOWN: the order of things that Lambda asks of an extension.

use std::{io, path::Path, time::Duration};

use settings::SettingError;
use thiserror::Error;
use tokio::{
    join, select,
    signal::unix::{SignalKind, signal},
};

use crate::{
    config::Config,
    extensions_api::{ApiError, Event, Events, ExtensionsApi},
    status_server::StatusServer,
    tailnet::{Handle, Tailnet},
    tailscaled::Paths,
};

/// How long the login may hold up INIT, which has 10 s for all: after it, requests are told why they cannot pass.
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

/// Lives from registration to SHUTDOWN or SIGTERM.
pub async fn run(config: Config) -> Result<(), Fatal> {
    // Registering is the first thing on the wire, because Lambda starts the runtime only after it; tailscaled comes up
    // while the answer is on its way.
    let (api, tailnet) = join!(ExtensionsApi::register(&config.runtime_api, config.events), async {
        Tailnet::start(&config, Paths::default())
    });
    let end = match api {
        Ok(api) => serve(api, &tailnet, &config).await,
        Err(error) => Err(error.into()),
    };
    tailnet.stop().await;
    end
}

async fn serve(mut api: ExtensionsApi, tailnet: &Tailnet, config: &Config) -> Result<(), Fatal> {
    let system = |what| move |source| Fatal::System { what, source };
    let mut terminated = signal(SignalKind::terminate()).map_err(system("SIGTERM cannot be awaited"))?;
    let endpoint = StatusServer::bind(Path::new(status::SOCKET), tailnet.handle(), config.uncovered);
    let endpoint = match endpoint.map_err(system("the status endpoint cannot be opened")) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            api.init_error("Extension.StatusEndpoint", &error.to_string()).await?;
            return Err(error);
        }
    };
    let mut tailnet = tailnet.handle();
    let ending = async {
        let phase = tailnet.settled(INIT_LIMIT).await;
        if config.require_tailnet
            && let Some(reason) = phase.why_not()
        {
            api.init_error("Extension.TailnetUnavailable", &reason).await?;
            return Err(Fatal::NoTailnet(reason));
        }
        Ok(until_shutdown(&mut api, tailnet).await?)
    };
    select! {
        end = ending => end,
        _ = terminated.recv() => Ok(()),
        () = endpoint.serve() => Ok(()),
    }
}

async fn until_shutdown(api: &mut ExtensionsApi, mut tailnet: Handle) -> Result<(), ApiError> {
    loop {
        match api.next().await? {
            // It may come after a freeze: the link is looked after at once, whether or not the function asks.
            Event::Invoke => tailnet.invoked().await,
            Event::Shutdown { shutdown_reason } => {
                tracing::debug!("the environment ends: {shutdown_reason:?}");
                return Ok(());
            }
        }
    }
}

/// Tells Lambda why the extension does not start, so that its logs show more than an exit code.
pub async fn refuse(runtime_api: &str, error: &SettingError) -> Result<(), ApiError> {
    ExtensionsApi::register(runtime_api, Events::ShutdownOnly)
        .await?
        .init_error("Extension.InvalidConfiguration", &error.to_string())
        .await
}
