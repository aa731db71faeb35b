//! One client that speaks SOCKS5.

use std::{io, sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::{
    doors::{
        connections::Serve,
        flow::{Thaws, carry},
        outbound::{DAEMON_LIMIT, Exit, Outbound, Refusal, Upstream, daemon_gone, not_served},
        socks5::wire::{self, Reply, Request, WireError},
        throttled_log::ThrottledLog,
    },
    policy::Uncovered,
};

/// How long a client may take to send its request.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// What clients are served with. Clones share it.
#[derive(Clone)]
pub(crate) struct Socks5 {
    outbound: Outbound,
    log: Arc<ThrottledLog>,
    thaws: Thaws,
}

impl Serve for Socks5 {
    async fn serve(self, mut client: TcpStream) {
        let Some(request) = self.request(&mut client).await else {
            return;
        };
        let handled = match self.exit(&request).await {
            Ok(Exit::Tailnet(connected)) => {
                let path = Some(connected.route.path);
                let stream = connected.stream;
                self.join(client, Upstream { stream, path }).await
            }
            Ok(Exit::OwnNetwork) => self.pass_through(client, &request).await,
            Err(refusal) => self.refuse(&mut client, &request, &refusal).await,
        };
        if let Err(error) = handled {
            // One end went away: the other one sees that.
            tracing::debug!("the connection to {request} broke: {error}");
        }
    }

    async fn reject(self, mut client: TcpStream) {
        if self.request(&mut client).await.is_some()
            && let Err(error) = wire::answer(&mut client, Reply::GeneralFailure).await
        {
            tracing::debug!("a client did not wait for its reply: {error}");
        }
    }
}

impl Socks5 {
    pub(crate) fn new(outbound: Outbound, log: Arc<ThrottledLog>, thaws: Thaws) -> Self {
        Self { outbound, log, thaws }
    }

    async fn request(&self, client: &mut TcpStream) -> Option<Request> {
        let request = async {
            wire::greet(client).await?;
            Request::read(client).await
        };
        let error = match timeout(REQUEST_LIMIT, request).await {
            Ok(Ok(request)) => return Some(request),
            Ok(Err(error)) => error,
            Err(_) => {
                let seconds = REQUEST_LIMIT.as_secs();
                self.log
                    .warn(format!("a SOCKS5 client sent no request within {seconds} s"));
                return None;
            }
        };
        if !matches!(error, WireError::Broken(_)) {
            self.log.warn(format!("a SOCKS5 client cannot be served: {error}"));
        }
        if let Some(reply) = error.reply()
            && let Err(error) = wire::answer(client, reply).await
        {
            tracing::debug!("a client did not wait for its reply: {error}");
        }
        None
    }

    async fn exit(&self, request: &Request) -> Result<Exit, Refusal> {
        if request.is_connect() {
            return self.outbound.exit(&request.host.to_string(), request.port).await;
        }
        self.outbound.ready().await?;
        if self.outbound.config().uncovered == Uncovered::Refuse {
            let reason = "with a required exit node, this server opens connections and supports no other command";
            return Err(Refusal::NotAllowed(reason.to_owned()));
        }
        Ok(Exit::OwnNetwork)
    }

    /// Lets tailscaled's own server reply, and speak from then on.
    async fn pass_through(&self, mut client: TcpStream, request: &Request) -> io::Result<()> {
        let asked = async {
            let mut daemon = TcpStream::connect(self.outbound.config().daemon).await?;
            daemon.set_nodelay(true)?;
            let head = wire::ask(&mut daemon, request).await?;
            Ok::<_, io::Error>((daemon, head))
        };
        let (stream, head) = match timeout(DAEMON_LIMIT, asked).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => return self.refuse(&mut client, request, &daemon_gone(&error)).await,
            Err(_) => {
                return self
                    .refuse(&mut client, request, &Refusal::TimedOut(DAEMON_LIMIT))
                    .await;
            }
        };
        let [_, reply] = head;
        if reply != Reply::Succeeded as u8 {
            self.log_refusal(request, &not_served(&format!("SOCKS5 reply {reply}")));
        }
        client.write_all(&head).await?;
        self.copy(client, Upstream { stream, path: None }).await
    }

    async fn join(&self, mut client: TcpStream, upstream: Upstream) -> io::Result<()> {
        wire::answer(&mut client, Reply::Succeeded).await?;
        self.copy(client, upstream).await
    }

    async fn copy(&self, client: TcpStream, upstream: Upstream) -> io::Result<()> {
        carry(client, upstream, &[], &self.thaws).await.map(drop)
    }

    async fn refuse(&self, client: &mut TcpStream, request: &Request, refusal: &Refusal) -> io::Result<()> {
        self.log_refusal(request, &refusal.to_string());
        wire::answer(client, reply(refusal)).await
    }

    fn log_refusal(&self, request: &Request, reason: &str) {
        self.log.warn(format!("no connection to {request}: {reason}"));
    }
}

fn reply(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::NotAllowed(_) => Reply::NotAllowed,
        Refusal::UnknownName(_) | Refusal::TimedOut(_) => Reply::HostUnreachable,
        Refusal::Refused(_) => Reply::GeneralFailure,
        Refusal::Unavailable(_) => Reply::NetworkUnreachable,
    }
}
