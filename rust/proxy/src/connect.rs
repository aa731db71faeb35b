//! Connections to targets: through the tailnet, with TLS where the target wants it, up to HTTP.

use std::{
    io,
    net::IpAddr,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tailnet::{
    SocketRouter,
    connect::{ConnectError, Connected, RouteError, Router, connect},
    dial::Dialer,
    host::Host,
    protocol::{EXIT_NODE_UNAVAILABLE, INVOCATION_LIMIT, OUTSIDE},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    pin, select,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::{
    clock::Clock,
    config::Config,
    diagnose::{Report, Step},
    error::ProxyError,
    pool::Connection,
    read_to_end::ReadToEnd,
    recent_routes::RecentRoutes,
    target::Target,
    timeouts::Limits,
    tls::{self, Tls},
};

/// How long the extension may take to say whether the tailnet was the cause of a break.
const CLASSIFY_LIMIT: Duration = Duration::from_millis(250);

/// How long after it was told of an invocation the extension is told of another one: 2 s without any are a freeze to it.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Opens connections, and checks those that were kept.
pub(crate) struct Connector {
    config: Config,
    clock: Clock,
    router: SocketRouter,
    /// For what is dialled anew.
    routes: RecentRoutes,
    dialer: Dialer,
    /// Made at the first need: plain http does not wait for it.
    tls: OnceLock<Result<Tls, ProxyError>>,
    tailnet_ready: OnceLock<Duration>,
    /// When the extension was last told of an invocation.
    told: Mutex<Option<SystemTime>>,
}

impl Connector {
    pub(crate) fn new(config: Config, clock: Clock) -> Self {
        let router = SocketRouter::new(&config.extension_socket);
        Self {
            routes: RecentRoutes::new(router.clone(), clock.clone()),
            router,
            dialer: Dialer::new(config.socks),
            config,
            clock,
            tls: OnceLock::new(),
            tailnet_ready: OnceLock::new(),
            told: Mutex::default(),
        }
    }

    /// How long the environment's login took, as soon as that is known.
    pub(crate) fn tailnet_ready(&self) -> Option<Duration> {
        self.tailnet_ready.get().copied()
    }

    /// Opens a connection within `limit`, and by `deadline`.
    pub(crate) async fn connect(
        &self,
        target: &Target,
        limit: Duration,
        deadline: Instant,
    ) -> Result<Connection, ProxyError> {
        let began = Instant::now();
        let deadline = deadline.min(began + limit);
        let limit_ms = deadline.saturating_duration_since(began).as_millis();
        let host = host(target);
        let connected = connect(&self.routes, &self.dialer, &host, target.port, deadline)
            .await
            .map_err(|error| connect_error(error, target, limit_ms))?;
        self.routes.connected(&host);
        self.tailnet_ready.get_or_init(|| connected.route.ready);
        let too_late = |_| ProxyError::TargetTimeout(format!("no TLS session with {target} within {limit_ms} ms"));
        timeout_at(deadline, self.open(target, connected))
            .await
            .map_err(too_late)?
    }

    /// Whether a connection to `address` that was opened over `path` still leads to `target`, over a path that is alive:
    /// `false` as soon as that is known not to be so. A name that cannot be resolved just now says nothing against it.
    pub(crate) async fn is_current(
        &self,
        target: &Target,
        address: IpAddr,
        path: u64,
        deadline: Instant,
    ) -> Result<bool, ProxyError> {
        let verify = self.router.verify(address, deadline);
        let resolve = async {
            let Host::Name(name) = &target.host else {
                return true;
            };
            match self.router.route(name, deadline).await {
                Ok(route) => route.path == path && route.addresses.contains(&address),
                Err(RouteError::NotAllowed(_)) => false,
                Err(RouteError::UnknownName(_) | RouteError::Unavailable { .. }) => true,
            }
        };
        pin!(verify, resolve);
        let (mut verified, mut resolved) = (false, false);
        while !verified || !resolved {
            select! {
                current = &mut verify, if !verified => match current {
                    Ok(current) if current == path => verified = true,
                    Ok(_) | Err(RouteError::NotAllowed(_) | RouteError::UnknownName(_)) => return Ok(false),
                    Err(error @ RouteError::Unavailable { .. }) => return Err(route_error(error)),
                },
                leads_there = &mut resolve, if !resolved => {
                    if !leads_there {
                        return Ok(false);
                    }
                    resolved = true;
                }
            }
        }
        Ok(true)
    }

    /// Why nothing can come any more over a connection to `address` that was opened over `path`, if that is so: the tailnet
    /// no longer covers it.
    pub(crate) async fn refusal(&self, address: IpAddr, path: u64, deadline: Instant) -> Option<ProxyError> {
        match self.router.route(&address.to_string(), deadline).await {
            Err(error @ RouteError::NotAllowed(_)) => Some(route_error(error)),
            Err(error) if matches!(&error, RouteError::Unavailable { code, .. } if code == EXIT_NODE_UNAVAILABLE) => {
                Some(route_error(error))
            }
            Ok(route) if route.path == OUTSIDE && path != OUTSIDE => Some(ProxyError::TargetUnreachable(format!(
                "the tailnet no longer covers {address}, so the connection to it leads nowhere"
            ))),
            _ => None,
        }
    }

    /// Has the extension make sure that the path to the tailnet is alive; a login under way is waited for as long as for a
    /// connection, and until `deadline` at most.
    pub(crate) async fn keep_alive(&self, deadline: Instant) -> Result<(), ProxyError> {
        let deadline = deadline.min(Instant::now() + self.config.connect_timeout);
        self.router.keep_alive(deadline).await.map(drop).map_err(route_error)
    }

    /// Tells the extension of an invocation, unless it was told of one a moment ago, and waits until it no longer needs the
    /// environment awake, or until `deadline`. (Lambda would tell it of each one, for a tenth of a request's CPU time.)
    pub(crate) async fn invoked(&self, deadline: Instant) {
        let now = self.clock.now();
        {
            let mut told = self.told();
            if told.is_some_and(|told| self.clock.since(told) < TELL_AFTER) {
                return;
            }
            *told = Some(now);
        }
        let deadline = deadline.min(Instant::now() + INVOCATION_LIMIT);
        if let Err(error) = self.router.invoked(deadline).await {
            tracing::debug!("the tailnet cannot be used: {error}");
            // It may be about to log in again, and the next invocation is to keep the environment awake for that.
            *self.told() = None;
        }
    }

    /// Sound whatever happened to its last holder: each change of it is whole.
    fn told(&self) -> MutexGuard<'_, Option<SystemTime>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries the way to `target`: what the extension knows of it, a connection, a TLS session. A step that cannot be taken
    /// without the one before it is left out.
    pub(crate) async fn diagnose(&self, target: &Target, allowed: Result<(), ProxyError>, limits: Limits) -> Report {
        let deadline = limits.deadline.min(Instant::now() + limits.connect);
        let tailnet = self.router.diagnose(&host(target), deadline).await.map_err(route_error);
        let in_tailnet = tailnet.as_ref().is_ok_and(|diagnosis| diagnosis.trouble.is_none());
        let mut report = Report {
            allowed: Step::of(Instant::now(), &allowed),
            ..Report::of(target, tailnet)
        };
        if allowed.is_err() || !in_tailnet {
            return report;
        }
        let plain = Target {
            tls: None,
            ..target.clone()
        };
        let began = Instant::now();
        let connected = self.connect(&plain, limits.connect, limits.deadline).await;
        report.connection = Some(Step::of(began, &connected));
        let Ok(connection) = connected else { return report };
        connection.close().await;
        if target.tls.is_some() {
            let began = Instant::now();
            let session = self.connect(target, limits.connect, limits.deadline).await;
            report.tls = Some(Step::of(began, &session));
            if let Ok(session) = session {
                session.close().await;
            }
        }
        report
    }

    /// What a connection that broke means: the target's doing, or the end of the tailnet.
    pub(crate) async fn classify_break(
        &self,
        target: &Target,
        connection: &Connection,
        error: &hyper::Error,
    ) -> ProxyError {
        let deadline = Instant::now() + CLASSIFY_LIMIT;
        match self.router.route(&connection.address.to_string(), deadline).await {
            Err(error @ RouteError::Unavailable { .. }) => route_error(error),
            _ => ProxyError::TargetUnreachable(format!("the connection to {target} broke: {}", chain(error))),
        }
    }

    /// An error if tailscaled is gone: then a response that only the end of its connection delimits may lack its rest.
    pub(crate) async fn check_daemon(&self) -> Result<(), ProxyError> {
        match TcpStream::connect(self.config.socks).await {
            Ok(_) => Ok(()),
            Err(error) => Err(daemon_gone(&error)),
        }
    }

    /// TLS where the target wants it, then HTTP.
    async fn open(&self, target: &Target, connected: Connected) -> Result<Connection, ProxyError> {
        let Connected { stream, address, route } = connected;
        let (sender, driver) = match target.tls.clone() {
            None => handshake(target, stream).await?,
            Some(name) => {
                let tls = self.tls.get_or_init(|| Tls::new(&self.config)).clone()?;
                handshake(target, tls.connect(target, name, stream).await?).await?
            }
        };
        Ok(Connection::new(sender, driver, address, route.path, self.clock.now()))
    }
}

fn host(target: &Target) -> String {
    match &target.host {
        Host::Address(address) => address.to_string(),
        Host::Name(name) => name.clone(),
    }
}

fn connect_error(error: ConnectError, target: &Target, limit_ms: u128) -> ProxyError {
    match error {
        ConnectError::Route(error) => route_error(error),
        ConnectError::Refused(refusals) => {
            ProxyError::TargetUnreachable(format!("{target} cannot be reached: {refusals}"))
        }
        ConnectError::TimedOut => ProxyError::TargetTimeout(format!("no connection to {target} within {limit_ms} ms")),
        ConnectError::OffTailnet(message) => ProxyError::TargetNotAllowed(message),
        ConnectError::DaemonGone(error) => daemon_gone(&error),
    }
}

fn daemon_gone(error: &io::Error) -> ProxyError {
    ProxyError::TailnetUnavailable {
        message: format!("DaemonGone: tailscaled's SOCKS5 server does not respond: {error}"),
        retry_after: None,
    }
}

fn route_error(error: RouteError) -> ProxyError {
    match error {
        RouteError::NotAllowed(message) => ProxyError::TargetNotAllowed(message),
        RouteError::UnknownName(message) => ProxyError::TargetUnreachable(message),
        RouteError::Unavailable { retry_after, .. } => ProxyError::TailnetUnavailable {
            message: error.to_string(),
            retry_after,
        },
    }
}

/// What takes requests, and the task that carries the connection.
type Opened = (http1::SendRequest<Full<Bytes>>, JoinHandle<()>);

async fn handshake(
    target: &Target,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Opened, ProxyError> {
    let handshake = http1::Builder::new()
        // Targets on premises can be old; RFC 9112 sections 5.1 and 5.2 let a recipient take these in.
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .max_headers(256)
        .handshake(TokioIo::new(ReadToEnd::new(stream)));
    let (sender, driver) = handshake
        .await
        .map_err(|error| ProxyError::Internal(format!("no HTTP with {target}: {error}")))?;
    // An error of the connection reaches the request that it hits; one without a request hits nobody.
    Ok((sender, tokio::spawn(async move { drop(driver.await) })))
}

fn chain(error: &hyper::Error) -> String {
    let Some(source) = std::error::Error::source(error) else {
        return error.to_string();
    };
    let hint = source.downcast_ref().map_or("", tls::hint);
    format!("{error}: {source}{hint}")
}
