//! One connection to the SOCKS5 server.

use std::{io, sync::Arc, time::Duration};

use tailnet::{
    connect::{ConnectError, RouteError, Router, connect},
    dial::Dialer,
};
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional_with_sizes},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    policy::Uncovered,
    preflight::Preflight,
    socks::{
        config::SocksConfig,
        throttled_log::ThrottledLog,
        wire::{self, Host, Reply, Request, WireError},
    },
};

/// How long a client may take to send its request.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may take, the wait for a login under way included: as long as the proxy gives it.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long tailscaled may take for a request that is passed through: it gives a dial 5 s itself.
const PASS_THROUGH_LIMIT: Duration = Duration::from_secs(6);
/// The buffer of each direction.
const BUFFER_BYTES: usize = 16 * 1024;

/// What a connection is handled with. Clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    preflight: Preflight,
    dialer: Dialer,
    config: SocksConfig,
    log: Arc<ThrottledLog>,
}

/// Where a request leads.
enum Exit {
    /// To the target, over a connection that is there.
    Connected(TcpStream),
    /// To tailscaled's own server.
    PassThrough,
}

/// Why a request is refused.
struct Refusal {
    reply: Reply,
    reason: String,
}

impl Refusal {
    fn new(reply: Reply, reason: impl Into<String>) -> Self {
        Self {
            reply,
            reason: reason.into(),
        }
    }
}

impl Connection {
    pub(crate) fn new(config: SocksConfig, preflight: Preflight, log: Arc<ThrottledLog>) -> Self {
        Self {
            preflight: preflight.with_policy(config.uncovered),
            dialer: Dialer::new(config.daemon),
            config,
            log,
        }
    }

    /// Serves a client to the end of its connection.
    pub(crate) async fn handle(self, mut client: TcpStream) {
        let Some(request) = self.request(&mut client).await else {
            return;
        };
        let handled = match self.exit(&request).await {
            Ok(Exit::Connected(target)) => join(client, target).await,
            Ok(Exit::PassThrough) => self.pass_through(client, &request).await,
            Err(refusal) => self.refuse(&mut client, &request, refusal).await,
        };
        if let Err(error) = handled {
            // One end went away: the other one sees that.
            tracing::debug!("the connection to {request} broke: {error}");
        }
    }

    /// Tells a client that there are too many connections.
    pub(crate) async fn reject(self, mut client: TcpStream) {
        if self.request(&mut client).await.is_some()
            && let Err(error) = wire::answer(&mut client, Reply::GeneralFailure).await
        {
            tracing::debug!("a client did not wait for its reply: {error}");
        }
    }

    async fn request(&self, client: &mut TcpStream) -> Option<Request> {
        let request = async {
            client.set_nodelay(true)?;
            wire::greet(client).await?;
            Request::read(client).await
        };
        let error = match timeout(REQUEST_LIMIT, request).await {
            Ok(Ok(request)) => return Some(request),
            Ok(Err(error)) => error,
            Err(_) => {
                let seconds = REQUEST_LIMIT.as_secs();
                self.log.warn(format!(
                    "a client of the SOCKS5 server sent no request within {seconds} s"
                ));
                return None;
            }
        };
        // A client that connects and goes, to see whether anybody listens, is not an error.
        if !matches!(error, WireError::Broken(_)) {
            self.log
                .warn(format!("a client of the SOCKS5 server cannot be served: {error}"));
        }
        if let Some(reply) = error.reply()
            && let Err(error) = wire::answer(client, reply).await
        {
            tracing::debug!("a client did not wait for its reply: {error}");
        }
        None
    }

    async fn exit(&self, request: &Request) -> Result<Exit, Refusal> {
        let deadline = Instant::now() + CONNECT_LIMIT;
        if request.is_connect() {
            return self.connect(request, deadline).await;
        }
        self.preflight.keep_alive(deadline).await.map_err(refusal)?;
        if self.config.uncovered == Uncovered::Refuse {
            let reason = "with a required exit node, this server opens connections and supports no other command";
            return Err(Refusal::new(Reply::NotAllowed, reason));
        }
        Ok(Exit::PassThrough)
    }

    async fn connect(&self, request: &Request, deadline: Instant) -> Result<Exit, Refusal> {
        let host = request.host.to_string();
        let named = matches!(request.host, Host::Name(_));
        if named && is_this_machine(&host) {
            let reason = "it is the function itself: dial it without this server";
            return Err(Refusal::new(Reply::NotAllowed, reason));
        }
        match self.preflight.route(&host, deadline).await {
            Ok(route) if route.sources.is_none() => return Ok(Exit::PassThrough),
            Ok(_) => {}
            // Whatever the tailnet's resolver says of a name, the host's may know it.
            Err(error) if named && self.config.uncovered == Uncovered::Allow && is_of_resolver(&error) => {
                return Ok(Exit::PassThrough);
            }
            Err(error) => return Err(refusal(error)),
        }
        match connect(&self.preflight, &self.dialer, &host, request.port, deadline).await {
            Ok(connected) => Ok(Exit::Connected(connected.stream)),
            Err(ConnectError::Route(error)) => Err(refusal(error)),
            Err(ConnectError::TimedOut) => Err(timed_out()),
            Err(error @ ConnectError::Refused(_)) => Err(Refusal::new(Reply::GeneralFailure, error.to_string())),
            Err(error @ ConnectError::OffTailnet(_)) => Err(Refusal::new(Reply::NotAllowed, error.to_string())),
            Err(error @ ConnectError::DaemonGone(_)) => Err(Refusal::new(Reply::NetworkUnreachable, error.to_string())),
        }
    }

    /// Lets tailscaled's own server reply, and speak from then on.
    async fn pass_through(&self, mut client: TcpStream, request: &Request) -> io::Result<()> {
        let asked = async {
            let mut daemon = TcpStream::connect(self.config.daemon).await?;
            daemon.set_nodelay(true)?;
            let head = wire::ask(&mut daemon, request).await?;
            Ok::<_, io::Error>((daemon, head))
        };
        let (daemon, head) = match timeout(PASS_THROUGH_LIMIT, asked).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => {
                let reason = format!("tailscaled's SOCKS5 server does not respond: {error}");
                let refusal = Refusal::new(Reply::NetworkUnreachable, reason);
                return self.refuse(&mut client, request, refusal).await;
            }
            Err(_) => return self.refuse(&mut client, request, timed_out()).await,
        };
        let [_, reply] = head;
        if reply != Reply::Succeeded as u8 {
            let reason =
                format!("the tailnet does not cover it, and tailscaled could not serve it (SOCKS5 reply {reply})");
            self.log_refusal(request, &reason);
        }
        client.write_all(&head).await?;
        copy(client, daemon).await
    }

    async fn refuse(&self, client: &mut TcpStream, request: &Request, refusal: Refusal) -> io::Result<()> {
        self.log_refusal(request, &refusal.reason);
        wire::answer(client, refusal.reply).await
    }

    fn log_refusal(&self, request: &Request, reason: &str) {
        self.log.warn(format!("no connection to {request}: {reason}"));
    }
}

async fn join(mut client: TcpStream, target: TcpStream) -> io::Result<()> {
    wire::answer(&mut client, Reply::Succeeded).await?;
    copy(client, target).await
}

async fn copy(mut client: TcpStream, mut target: TcpStream) -> io::Result<()> {
    copy_bidirectional_with_sizes(&mut client, &mut target, BUFFER_BYTES, BUFFER_BYTES)
        .await
        .map(drop)
}

/// Whether the tailnet's resolver does not know a name, or does not answer for it.
fn is_of_resolver(error: &RouteError) -> bool {
    match error {
        RouteError::UnknownName(_) => true,
        RouteError::Unavailable { code, .. } => code == "ResolverSilent",
        RouteError::NotAllowed(_) => false,
    }
}

fn refusal(error: RouteError) -> Refusal {
    let reply = match &error {
        RouteError::NotAllowed(_) => Reply::NotAllowed,
        RouteError::UnknownName(_) => Reply::HostUnreachable,
        RouteError::Unavailable { .. } if is_of_resolver(&error) => Reply::HostUnreachable,
        RouteError::Unavailable { .. } => Reply::NetworkUnreachable,
    };
    Refusal::new(reply, error.to_string())
}

fn timed_out() -> Refusal {
    let reason = format!("no connection within {} s", CONNECT_LIMIT.as_secs());
    Refusal::new(Reply::HostUnreachable, reason)
}

/// RFC 6761 section 6.3.
fn is_this_machine(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}
