//! Opening a connection through tailscaled's SOCKS5 server, which hangs now and then and explains nothing.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use thiserror::Error;
use tokio::{
    net::TcpStream,
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, interval_at, sleep},
};
use tokio_socks::{TargetAddr, tcp::Socks5Stream};

/// After this long without a connection another dial joins those under way. A healthy dial takes a round trip; of
/// 3,000 in a row 77 hung, and 76 of those got through on the second.
const HEDGE: Duration = Duration::from_millis(200);
/// After this long without a connection it is the way to the target that may be to blame. (A SYN that was lost is sent
/// again after 1 s.)
const HUNG: Duration = Duration::from_secs(1);
/// How many dials one connection may take, over all its addresses: the default connect time-out's worth.
const MOST_DIALS: usize = 24;
/// How many of the dials under way at a time, to all destinations, may be such that joined others: an environment has
/// 1,024 file descriptors.
const MOST_HEDGES: usize = 64;
/// tailscaled gives up on a dial after 5 s: a failure that late tells no more than a hang.
const LATE: Duration = Duration::from_secs(4);
/// The first pause before a failed dial is tried again while the tailnet settles; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// How many times a failed dial is tried again while the tailnet settles: 620 ms in all.
const SETTLING_RETRIES: u32 = 5;

/// How many times in a row a way may be looked for that then turns out not to lead into the tailnet: while tailscaled drops
/// its sessions it knows no peers for a moment.
pub const MOST_OUTSIDE: usize = 3;

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum DialError {
    /// tailscaled's SOCKS5 server is not there.
    #[error("tailscaled's SOCKS5 server does not answer: {0}")]
    NoSocks(io::Error),
    /// The target, or the way to it, refused.
    #[error("{0}")]
    Refused(tokio_socks::Error),
    /// tailscaled made it by the function's own network: nothing in the tailnet covers the address any more. Nothing was
    /// sent on it.
    #[error(
        "the connection to {address} came from {source_address}, which is not this machine's address in the tailnet"
    )]
    Outside {
        /// What was dialled.
        address: IpAddr,
        /// Where the connection came from.
        source_address: String,
    },
    /// Nothing came back in the time allowed.
    #[error("no connection within {} ms", .0.as_millis())]
    TimedOut(Duration),
}

/// What to dial.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The addresses, in the order to try them; not empty.
    pub addresses: Vec<IpAddr>,
    /// The port.
    pub port: u16,
    /// This machine's addresses in the tailnet, one of which a connection must come from: what the tailnet does not cover
    /// when it is dialled tailscaled dials by the function's own network. `None` where it may.
    pub sources: Option<Vec<IpAddr>>,
    /// The tailnet came up a moment ago: a dial that fails at once is tried again.
    pub settling: bool,
}

/// Opens connections. Clones share the bound on dials that join others.
#[derive(Debug, Clone)]
pub struct Dialler {
    socks: SocketAddr,
    hedges: Arc<Semaphore>,
}

impl Dialler {
    /// Dials through the SOCKS5 server at `socks`.
    pub fn new(socks: SocketAddr) -> Self {
        Self {
            socks,
            hedges: Arc::new(Semaphore::new(MOST_HEDGES)),
        }
    }

    /// Opens a connection to `destination` within `limit`. When there is none after 1 s, `hung` is done beside the dials,
    /// once: it may mend the way there.
    pub async fn dial(
        &self,
        destination: &Destination,
        limit: Duration,
        hung: impl Future<Output = ()>,
    ) -> Result<TcpStream, DialError> {
        let mut dials = Dials {
            dialler: self,
            destination,
            started: 0,
            failed: 0,
            underway: FuturesUnordered::new(),
        };
        dials.start(Duration::ZERO, None);
        let began = Instant::now();
        let mut hedge = interval_at(began + HEDGE, HEDGE);
        let end = sleep(limit);
        let mut mended = false;
        let mend = async {
            sleep(HUNG).await;
            hung.await;
        };
        tokio::pin!(end, mend);
        loop {
            select! {
                Some(outcome) = dials.underway.next() => match outcome {
                    Ok(stream) => return Ok(stream),
                    Err(DialError::Refused(error)) if began.elapsed() < LATE => {
                        if let Some(error) = dials.refused(error) {
                            return Err(DialError::Refused(error));
                        }
                    }
                    Err(DialError::Refused(_)) => {}
                    Err(error) => return Err(error),
                },
                _ = hedge.tick() => dials.hedge(),
                () = &mut mend, if !mended => mended = true,
                () = &mut end => return Err(DialError::TimedOut(limit)),
            }
        }
    }
}

type Attempt<'a> = futures_util::future::BoxFuture<'a, Result<TcpStream, DialError>>;

/// The dials to one destination.
struct Dials<'a> {
    dialler: &'a Dialler,
    destination: &'a Destination,
    started: usize,
    failed: usize,
    underway: FuturesUnordered<Attempt<'a>>,
}

impl Dials<'_> {
    /// Starts one more dial beside those under way, unless there are too many such.
    fn hedge(&mut self) {
        if let Ok(permit) = Arc::clone(&self.dialler.hedges).try_acquire_owned() {
            self.start(Duration::ZERO, Some(permit));
        }
    }

    /// Starts one more dial after `pause`, to the next of the addresses in turn. It holds `permit` while it lasts.
    fn start(&mut self, pause: Duration, permit: Option<OwnedSemaphorePermit>) {
        if self.started == MOST_DIALS {
            return;
        }
        let address = self.destination.addresses[self.started % self.destination.addresses.len()];
        let (socks, target) = (self.dialler.socks, SocketAddr::new(address, self.destination.port));
        let sources = self.destination.sources.as_deref();
        self.started += 1;
        self.underway.push(Box::pin(async move {
            let _permit = permit;
            sleep(pause).await;
            attempt(socks, target, sources).await
        }));
    }

    /// Decides what a quick failure means: another dial, or, when every address has failed, the end.
    fn refused(&mut self, error: tokio_socks::Error) -> Option<tokio_socks::Error> {
        self.failed += 1;
        let addresses = self.destination.addresses.len();
        if self.failed < addresses {
            if self.started < addresses {
                self.start(Duration::ZERO, None);
            }
            return None;
        }
        let retries = u32::try_from(self.failed - addresses).unwrap_or(u32::MAX);
        if self.destination.settling && retries < SETTLING_RETRIES {
            self.start(FIRST_PAUSE * 2u32.pow(retries), None);
            return None;
        }
        Some(error)
    }
}

async fn attempt(socks: SocketAddr, target: SocketAddr, sources: Option<&[IpAddr]>) -> Result<TcpStream, DialError> {
    let stream = TcpStream::connect(socks).await.map_err(DialError::NoSocks)?;
    stream.set_nodelay(true).map_err(DialError::NoSocks)?;
    let stream = match Socks5Stream::connect_with_socket(stream, target).await {
        Ok(stream) => stream,
        Err(tokio_socks::Error::Io(error)) => return Err(DialError::NoSocks(error)),
        Err(error) => return Err(DialError::Refused(error)),
    };
    // RFC 1928 section 6: the reply names the address that the server connects from (BND.ADDR).
    let source = match stream.target_addr() {
        TargetAddr::Ip(address) => Some(address.ip()),
        TargetAddr::Domain(..) => None,
    };
    let inside = sources.is_none_or(|sources| source.is_some_and(|source| sources.contains(&source)));
    if !inside {
        return Err(DialError::Outside {
            address: target.ip(),
            source_address: source.map_or_else(|| "an unknown address".to_owned(), |source| source.to_string()),
        });
    }
    Ok(stream.into_inner())
}
