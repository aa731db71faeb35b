//! What becomes of one connection to the front.

use std::{io, sync::Arc, time::Duration};

use dial::{Destination, DialError, Dialler, MOST_OUTSIDE};
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional_with_sizes},
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::{
    Terms,
    complaints::Complaints,
    wire::{self, Host, Reply, Request, WireError},
};
use crate::{
    guide::{Guide, NoWay, Way},
    netmap::Uncovered,
};

/// How long a client may take to say what it wants.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may take, the wait for a tailnet on its way up included: as long as the proxy gives it.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long tailscaled may take for what is handed on to it: it gives a dial 5 s itself.
const HANDED_ON_LIMIT: Duration = Duration::from_secs(6);
/// The pause before the next attempt when tailscaled has just gone and that has not been noticed yet.
const NOTICE_PAUSE: Duration = Duration::from_millis(20);
/// How many connections are prepared at a time. Where a peer is slow to hear of this machine, each sends it a ping every
/// 25 ms; more connections to it find it prepared.
const PREPARED_AT_ONCE: usize = 8;
/// How much of what passes is held, each way.
const BUFFER_BYTES: usize = 16 * 1024;

/// The means to carry connections. Clones share them.
#[derive(Clone)]
pub(super) struct Passage {
    guide: Guide,
    dialler: Dialler,
    terms: Terms,
    preparing: Arc<Semaphore>,
    pub(super) complaints: Arc<Complaints>,
}

/// Where a request leads.
enum Exit {
    /// To the target, over a connection that is there.
    Connected(TcpStream),
    /// To tailscaled's own server, which sees to it by itself.
    HandOn,
}

/// Why a request leads nowhere.
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

impl Passage {
    pub(super) fn new(terms: Terms, guide: Guide) -> Self {
        Self {
            guide,
            dialler: Dialler::new(terms.daemon),
            terms,
            preparing: Arc::new(Semaphore::new(PREPARED_AT_ONCE)),
            complaints: Arc::default(),
        }
    }

    /// Does what a client asks for, to the end of its connection.
    pub(super) async fn carry(mut self, mut client: TcpStream) {
        let Some(request) = self.request(&mut client).await else {
            return;
        };
        let carried = match self.exit(&request).await {
            Ok(Exit::Connected(target)) => self.join(client, target).await,
            Ok(Exit::HandOn) => self.hand_on(client, &request).await,
            Err(refusal) => self.refuse(&mut client, &request, refusal).await,
        };
        if let Err(error) = carried {
            // One end went away: the other one sees that.
            tracing::debug!("the connection to {request} broke: {error}");
        }
    }

    /// Tells a client that there are too many connections.
    pub(super) async fn turn_away(self, mut client: TcpStream) {
        if self.request(&mut client).await.is_some()
            && let Err(error) = wire::answer(&mut client, Reply::GeneralFailure).await
        {
            tracing::debug!("a client did not wait for its refusal: {error}");
        }
    }

    async fn request(&self, client: &mut TcpStream) -> Option<Request> {
        let asked = async {
            client.set_nodelay(true)?;
            wire::greet(client).await?;
            Request::read(client).await
        };
        let error = match timeout(REQUEST_LIMIT, asked).await {
            Ok(Ok(request)) => return Some(request),
            Ok(Err(error)) => error,
            Err(_) => {
                let seconds = REQUEST_LIMIT.as_secs();
                let complaint = format!("a client of the SOCKS5 server did not say within {seconds} s what it wants");
                self.complaints.say(complaint);
                return None;
            }
        };
        // One that connects and goes, as some do to see whether anybody listens, is no trouble.
        if !matches!(error, WireError::Broken(_)) {
            self.complaints
                .say(format!("a client of the SOCKS5 server cannot be served: {error}"));
        }
        if let Some(reply) = error.reply()
            && let Err(error) = wire::answer(client, reply).await
        {
            tracing::debug!("a client did not wait for its answer: {error}");
        }
        None
    }

    async fn exit(&mut self, request: &Request) -> Result<Exit, Refusal> {
        let until = Instant::now() + CONNECT_LIMIT;
        if request.is_connect() {
            return self.connect(request, until).await;
        }
        self.guide.path(CONNECT_LIMIT).await.map_err(refusal)?;
        if self.terms.uncovered == Uncovered::Refuse {
            let reason = "with an exit node that is required, this server opens connections and does nothing else";
            return Err(Refusal::new(Reply::NotAllowed, reason));
        }
        Ok(Exit::HandOn)
    }

    async fn connect(&mut self, request: &Request, until: Instant) -> Result<Exit, Refusal> {
        let name = match &request.host {
            Host::Name(name) if is_this_machine(name) => {
                return Err(Refusal::new(
                    Reply::NotAllowed,
                    "it is the function itself: dial it without this server",
                ));
            }
            Host::Name(_) => true,
            Host::Address(_) => false,
        };
        // Whatever the tailnet's resolver says or fails to say of a name, tailscaled may know it by another way.
        let elsewhere = name && self.terms.uncovered == Uncovered::Allow;
        // What little was left for the last attempt says nothing of the target where tailscaled, or the target's place in
        // the tailnet, was gone before.
        let mut gone: Option<Refusal> = None;
        let mut outside = 0;
        loop {
            let way = match timeout(remaining(until), self.prepare(&request.host, until)).await {
                Ok(Ok(way)) if way.covered => way,
                Ok(Ok(_)) => return Ok(Exit::HandOn),
                Ok(Err(NoWay::UnknownName(_) | NoWay::NoWord(_))) if elsewhere => return Ok(Exit::HandOn),
                // Of an address, only the daemon itself can be silent.
                Ok(Err(NoWay::NoWord(reason))) if name => return Err(Refusal::new(Reply::HostUnreachable, reason)),
                Ok(Err(no_way)) => return Err(refusal(no_way)),
                Err(_) => return Err(gone.unwrap_or_else(too_late)),
            };
            let destination = Destination {
                addresses: way.addresses,
                port: request.port,
                sources: way.sources,
                settling: way.settling,
            };
            let hung = self.guide.hung(destination.addresses[0]);
            match self.dialler.dial(&destination, remaining(until), hung).await {
                Ok(target) => return Ok(Exit::Connected(target)),
                Err(error @ DialError::Refused(_)) => {
                    return Err(Refusal::new(Reply::GeneralFailure, error.to_string()));
                }
                Err(DialError::TimedOut(_)) => return Err(gone.unwrap_or_else(too_late)),
                // The next look tells why.
                Err(error @ DialError::Outside { .. }) => {
                    let refusal = Refusal::new(Reply::NotAllowed, error.to_string());
                    outside += 1;
                    if outside == MOST_OUTSIDE {
                        return Err(refusal);
                    }
                    gone = Some(refusal);
                }
                Err(error @ DialError::NoSocks(_)) => {
                    let refusal = Refusal::new(Reply::NetworkUnreachable, error.to_string());
                    if remaining(until) <= NOTICE_PAUSE {
                        return Err(refusal);
                    }
                    gone = Some(refusal);
                    sleep(NOTICE_PAUSE).await;
                }
            }
        }
    }

    async fn prepare(&mut self, host: &Host, until: Instant) -> Result<Way, NoWay> {
        let _turn = self.preparing.acquire().await;
        self.guide
            .target(&host.to_string(), self.terms.uncovered, remaining(until), &())
            .await
    }

    async fn join(&self, mut client: TcpStream, mut target: TcpStream) -> io::Result<()> {
        wire::answer(&mut client, Reply::Succeeded).await?;
        copy_bidirectional_with_sizes(&mut client, &mut target, BUFFER_BYTES, BUFFER_BYTES)
            .await
            .map(drop)
    }

    /// Lets tailscaled's own server answer, and speak from then on.
    async fn hand_on(&self, mut client: TcpStream, request: &Request) -> io::Result<()> {
        let asked = async {
            let mut daemon = TcpStream::connect(self.terms.daemon).await?;
            daemon.set_nodelay(true)?;
            let said = wire::ask(&mut daemon, request).await?;
            Ok::<_, io::Error>((daemon, said))
        };
        let (mut daemon, said) = match timeout(HANDED_ON_LIMIT, asked).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => {
                let reason = format!("tailscaled's SOCKS5 server does not answer: {error}");
                let refusal = Refusal::new(Reply::NetworkUnreachable, reason);
                return self.refuse(&mut client, request, refusal).await;
            }
            Err(_) => return self.refuse(&mut client, request, too_late()).await,
        };
        let [_, reply] = said;
        if reply != Reply::Succeeded as u8 {
            self.complain(
                request,
                &format!("the tailnet does not cover it, and tailscaled could not serve it (SOCKS5 reply {reply})"),
            );
        }
        client.write_all(&said).await?;
        copy_bidirectional_with_sizes(&mut client, &mut daemon, BUFFER_BYTES, BUFFER_BYTES)
            .await
            .map(drop)
    }

    async fn refuse(&self, client: &mut TcpStream, request: &Request, refusal: Refusal) -> io::Result<()> {
        self.complain(request, &refusal.reason);
        wire::answer(client, refusal.reply).await
    }

    fn complain(&self, request: &Request, reason: &str) {
        self.complaints.say(format!("no connection to {request}: {reason}"));
    }
}

fn refusal(no_way: NoWay) -> Refusal {
    match no_way {
        NoWay::NotAllowed(reason) => Refusal::new(Reply::NotAllowed, reason),
        NoWay::UnknownName(reason) => Refusal::new(Reply::HostUnreachable, reason),
        NoWay::Unavailable(reason) | NoWay::NoWord(reason) => Refusal::new(Reply::NetworkUnreachable, reason),
    }
}

fn too_late() -> Refusal {
    let reason = format!("nothing came of it within {} s", CONNECT_LIMIT.as_secs());
    Refusal::new(Reply::HostUnreachable, reason)
}

/// RFC 6761 section 6.3.
fn is_this_machine(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn remaining(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
