//! Accepts connections, and keeps their number within bounds.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::sleep,
};

use crate::doors::throttled_log::ThrottledLog;

/// How many connections there may be at a time. Each takes four file descriptors of the environment, two of them here and
/// one each at the handler and at tailscaled, and Lambda gives it 1,024 in all.
pub(crate) const MAX_CONNECTIONS: usize = 200;
/// How many clients above that are told so at a time; others are closed without a reply.
const MAX_REJECTIONS: usize = 16;
/// The pause after a connection could not be accepted: for want of descriptors, the next one could not be either.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a connection is served by.
pub(crate) trait Serve: Clone + Send + 'static {
    /// Serves a client to the end of its connection.
    fn serve(self, client: TcpStream) -> impl Future<Output = ()> + Send;

    /// Tells a client that there are too many connections.
    fn reject(self, client: TcpStream) -> impl Future<Output = ()> + Send;
}

/// The bounds on connections. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    log: Arc<ThrottledLog>,
    connections: Arc<Semaphore>,
    rejections: Arc<Semaphore>,
}

impl Limits {
    pub(crate) fn new(log: Arc<ThrottledLog>) -> Self {
        Self {
            log,
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            rejections: Arc::new(Semaphore::new(MAX_REJECTIONS)),
        }
    }

    /// Serves what comes to `listener` until it is dropped, which ends the connections.
    pub(crate) async fn accept(self, listener: TcpListener, server: impl Serve) {
        let mut handled = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((client, _)) => self.admit(client, server.clone(), &mut handled),
                Err(error) => {
                    self.log.warn(format!("a connection of the function was lost: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                }
            }
            while let Some(ended) = handled.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!("BUG: a connection failed: {error}");
                }
            }
        }
    }

    fn admit(&self, client: TcpStream, server: impl Serve, handled: &mut JoinSet<()>) {
        if let Err(error) = client.set_nodelay(true) {
            return tracing::debug!("a client went away: {error}");
        }
        if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
            handled.spawn(while_held(permit, server.serve(client)));
            return;
        }
        self.log.warn(format!(
            "a connection was refused: the extension serves {MAX_CONNECTIONS}, which is its maximum"
        ));
        if let Ok(permit) = Arc::clone(&self.rejections).try_acquire_owned() {
            handled.spawn(while_held(permit, server.reject(client)));
        }
    }
}

async fn while_held(permit: OwnedSemaphorePermit, work: impl Future<Output = ()>) {
    work.await;
    drop(permit);
}
