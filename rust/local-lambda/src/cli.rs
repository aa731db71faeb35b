//! The command line, and a run from its first line to its last.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Function;
use crate::environment::{EnvironmentRegistry, Host};
use crate::error::{Error, failed};
use crate::event_log::{self, Event};
use crate::fleet::Fleet;
use crate::function_url::{self, Settings};
use crate::invoke_api;
use crate::sandbox::{SandboxHost, Scratch};

/// Runs a Lambda function on this machine, behind a Function URL, as the service would.
///
/// SIGUSR1 ends its environments, a busy one as soon as it is idle; SIGTERM and SIGINT end it all.
#[derive(Debug, Parser)]
#[command(name = "local-lambda", version)]
pub struct Arguments {
    /// The function's configuration: function.json.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where the Function URL listens; port 0 takes a free one.
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:0",
        conflicts_with = "listen_stdin"
    )]
    listen: SocketAddr,
    /// The Function URL listens on the socket that is standard input, bound already.
    #[arg(long)]
    listen_stdin: bool,
    /// Where Lambda's Invoke API listens; port 0 takes a free one. It is not there without this.
    #[arg(long, value_name = "HOST:PORT")]
    listen_invoke: Option<SocketAddr>,
    /// Where the Function URL of an alias listens, any number of times; port 0 takes a free one.
    #[arg(long, value_name = "ALIAS=HOST:PORT", value_parser = alias_listener)]
    listen_alias: Vec<(String, SocketAddr)>,
}

/// Runs until SIGTERM or SIGINT. Must be called while the process has one thread.
pub fn main(arguments: &Arguments) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let function = Arc::new(Function::read(&arguments.config)?);
    let scratch = Scratch::lay_out(&function)?;
    let sandbox_host = SandboxHost::prepare(&function, scratch)?;
    let (begin_stop, stop) = watch::channel(false);
    let host = Host {
        function,
        sandbox_host: Arc::new(sandbox_host),
        registry: EnvironmentRegistry::default(),
        stop,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime?.block_on(serve(Arc::new(host), arguments, &begin_stop))
}

async fn serve(host: Arc<Host>, arguments: &Arguments, begin_stop: &watch::Sender<bool>) -> Result<(), Error> {
    let mut spin_down = signal(SignalKind::user_defined1())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let fleet = Arc::new(Fleet::new(host.clone()));
    let settings = |alias: Option<&String>| Settings {
        function: host.function.clone(),
        alias: alias.cloned(),
        clock: std::time::SystemTime::now,
    };
    let stopped = || {
        let mut stop = host.stop.clone();
        async move { drop(stop.wait_for(|stop| *stop).await) }
    };
    let mut fronts = JoinSet::new();
    let listener = arguments.listener().await?;
    let url = url_of(&listener)?;
    fronts.spawn(function_url::serve(listener, settings(None), fleet.clone(), stopped()));
    let mut alias_urls = BTreeMap::new();
    for (alias, at) in &arguments.listen_alias {
        let listener = listen(*at).await?;
        alias_urls.insert(alias.clone(), url_of(&listener)?);
        fronts.spawn(function_url::serve(
            listener,
            settings(Some(alias)),
            fleet.clone(),
            stopped(),
        ));
    }
    let mut invoke_url = None;
    if let Some(at) = arguments.listen_invoke {
        let listener = listen(at).await?;
        invoke_url = Some(url_of(&listener)?);
        fronts.spawn(invoke_api::serve(listener, settings(None), fleet.clone(), stopped()));
    }
    event_log::write(&Event::Ready {
        url: &url,
        invoke_url: invoke_url.as_deref(),
        alias_urls: &alias_urls,
    });
    tracing::info!(url, invoke_url, function = host.function.function_name, "ready");
    loop {
        tokio::select! {
            _ = spin_down.recv() => fleet.spin_down(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("shutting down");
    begin_stop.send_replace(true);
    tokio::join!(fronts.join_all(), fleet.join());
    Ok(())
}

fn url_of(listener: &TcpListener) -> io::Result<String> {
    Ok(format!("http://{}/", listener.local_addr()?))
}

impl Arguments {
    async fn listener(&self) -> Result<TcpListener, Error> {
        if self.listen_stdin {
            return Ok(inherited()?);
        }
        listen(self.listen).await
    }
}

/// Reads `ALIAS=HOST:PORT`.
fn alias_listener(text: &str) -> Result<(String, SocketAddr), String> {
    let expected = || "it must be an alias and an address, such as billing=127.0.0.1:0".to_owned();
    let (alias, at) = text.split_once('=').ok_or_else(expected)?;
    Ok((alias.to_owned(), at.parse().map_err(|_| expected())?))
}

async fn listen(at: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(at).await.map_err(failed(at))
}

fn inherited() -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
