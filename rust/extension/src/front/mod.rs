//! A SOCKS5 server before tailscaled's own, for a handler that is not ours: what such a handler dials is looked after as
//! the proxy's dials are, and leaves by no way that it must not take.

mod complaints;
mod passage;
mod wire;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::sleep,
};

use self::passage::Passage;
use crate::{guide::Guide, netmap::Uncovered};

/// How many connections there may be at a time. Each takes four file descriptors of the environment, two of them here and
/// one each at the handler and at tailscaled, and Lambda gives it 1,024 in all.
const MOST: usize = 200;
/// How many of those that are too many are told so at a time; others are closed without a word.
const MOST_REFUSALS: usize = 16;
/// The pause after a connection could not be taken: for want of descriptors, the next could not be either.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the front is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where tailscaled's own SOCKS5 server listens.
    pub daemon: SocketAddr,
    /// What becomes of targets that the tailnet does not cover: tailscaled dials them by the function's own network.
    pub uncovered: Uncovered,
}

/// The server.
pub struct Front {
    listener: TcpListener,
    passage: Passage,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

impl Front {
    /// Listens.
    pub async fn bind(terms: Terms, guide: Guide) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(terms.listen).await?,
            passage: Passage::new(terms, guide),
            places: Arc::new(Semaphore::new(MOST)),
            refusals: Arc::new(Semaphore::new(MOST_REFUSALS)),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped, which ends the connections.
    pub async fn serve(self) {
        let mut carried = JoinSet::new();
        loop {
            match self.listener.accept().await {
                Ok((client, _)) => self.admit(client, &mut carried),
                Err(error) => {
                    self.passage
                        .complaints
                        .say(format!("a connection to the SOCKS5 server was lost: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                }
            }
            while let Some(ended) = carried.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!("BUG: a connection through the SOCKS5 server failed: {error}");
                }
            }
        }
    }

    fn admit(&self, client: TcpStream, carried: &mut JoinSet<()>) {
        let passage = self.passage.clone();
        let place = Arc::clone(&self.places).try_acquire_owned();
        if let Ok(place) = place {
            carried.spawn(while_held(place, passage.carry(client)));
            return;
        }
        self.passage.complaints.say(format!(
            "a connection was refused: there are {MOST} through the SOCKS5 server, which is as many as there may be"
        ));
        if let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() {
            carried.spawn(while_held(place, passage.turn_away(client)));
        }
    }
}

async fn while_held(place: OwnedSemaphorePermit, work: impl Future<Output = ()>) {
    work.await;
    drop(place);
}
