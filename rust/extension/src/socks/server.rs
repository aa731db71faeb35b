//! The listener, and how many connections there may be.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::sleep,
};

use crate::{
    preflight::Preflight,
    socks::{config::SocksConfig, connection::Connection, throttled_log::ThrottledLog},
};

/// How many connections there may be at a time. Each takes four file descriptors of the environment, two of them here and
/// one each at the handler and at tailscaled, and Lambda gives it 1,024 in all.
const MAX_CONNECTIONS: usize = 200;
/// How many clients above that are told so at a time; others are closed without a reply.
const MAX_REJECTIONS: usize = 16;
/// The pause after a connection could not be accepted: for want of descriptors, the next one could not be either.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The server.
pub struct SocksServer {
    listener: TcpListener,
    connection: Connection,
    log: Arc<ThrottledLog>,
    connections: Arc<Semaphore>,
    rejections: Arc<Semaphore>,
}

impl SocksServer {
    /// Listens.
    pub async fn bind(config: SocksConfig, preflight: Preflight) -> io::Result<Self> {
        let log = Arc::<ThrottledLog>::default();
        Ok(Self {
            listener: TcpListener::bind(config.listen).await?,
            connection: Connection::new(config, preflight, Arc::clone(&log)),
            log,
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            rejections: Arc::new(Semaphore::new(MAX_REJECTIONS)),
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped, which ends the connections.
    pub async fn serve(self) {
        let mut handled = JoinSet::new();
        loop {
            match self.listener.accept().await {
                Ok((client, _)) => self.admit(client, &mut handled),
                Err(error) => {
                    self.log
                        .warn(format!("a connection to the SOCKS5 server was lost: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                }
            }
            while let Some(ended) = handled.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!("BUG: a connection through the SOCKS5 server failed: {error}");
                }
            }
        }
    }

    fn admit(&self, client: TcpStream, handled: &mut JoinSet<()>) {
        let connection = self.connection.clone();
        if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
            handled.spawn(while_held(permit, connection.handle(client)));
            return;
        }
        self.log.warn(format!(
            "a connection was refused: the SOCKS5 server has {MAX_CONNECTIONS}, which is its maximum"
        ));
        if let Ok(permit) = Arc::clone(&self.rejections).try_acquire_owned() {
            handled.spawn(while_held(permit, connection.reject(client)));
        }
    }
}

async fn while_held(permit: OwnedSemaphorePermit, work: impl Future<Output = ()>) {
    work.await;
    drop(permit);
}
