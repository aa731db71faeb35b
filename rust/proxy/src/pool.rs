//! Connections kept between requests, and between invocations: at most one for each target.
//!
//! An environment serves one invocation at a time, so a second idle connection to a target is of no use; and a target
//! that serves one connection at a time never gets to a new one while an old one stays open.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::{
    task::{JoinHandle, yield_now},
    time::timeout,
};

use crate::{clock::Clock, target::Target};

/// How long a connection is kept idle: many servers close it after 60 s or less.
const IDLE_LIMIT: Duration = Duration::from_secs(50);
/// How long a connection is used in all: what stands behind a name or a load balancer changes.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// How long a kept connection may take to be ready; it is ready at once unless its end is being noticed.
const READY_LIMIT: Duration = Duration::from_millis(100);
/// How long a connection may take to say goodbye (TLS's close_notify, a FIN) before it is torn down.
const CLOSE_LIMIT: Duration = Duration::from_millis(50);
/// For how many targets a connection is kept.
const MAX_TARGETS: usize = 64;

/// A connection to a target.
pub(crate) struct Connection {
    /// Takes requests.
    pub(crate) sender: SendRequest<Full<Bytes>>,
    /// The address that it leads to.
    pub(crate) address: IpAddr,
    /// The generation of the path through the tailnet that it was opened on.
    pub(crate) path: u64,
    /// When the target's name was last known to lead to the address.
    pub(crate) resolved: SystemTime,
    /// How long the last response took to begin.
    pub(crate) first_byte: Duration,
    opened: SystemTime,
    driver: JoinHandle<()>,
}

/// A connection that an earlier request left.
pub(crate) struct Kept {
    pub(crate) connection: Connection,
    /// For how long it has been idle.
    pub(crate) idle: Duration,
}

/// The kept connections.
pub(crate) struct Pool {
    clock: Clock,
    idle: Mutex<HashMap<Target, Idle>>,
}

struct Idle {
    connection: Connection,
    since: SystemTime,
}

impl Connection {
    /// A connection to `address` that was opened over `path` now, and that `driver` carries.
    pub(crate) fn new(
        sender: SendRequest<Full<Bytes>>,
        driver: JoinHandle<()>,
        address: IpAddr,
        path: u64,
        now: SystemTime,
    ) -> Self {
        Self {
            sender,
            address,
            path,
            resolved: now,
            first_byte: Duration::ZERO,
            opened: now,
            driver,
        }
    }

    /// Closes the connection, and returns when the target has been told.
    pub(crate) async fn close(self) {
        let Self { sender, mut driver, .. } = self;
        drop(sender);
        if timeout(CLOSE_LIMIT, &mut driver).await.is_err() {
            driver.abort();
        }
    }
}

impl Pool {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            idle: Mutex::default(),
        }
    }

    /// Takes out the kept connection to `target`, if it is open as far as can be seen. What is too old is closed.
    pub(crate) async fn take(&self, target: &Target) -> Option<Kept> {
        // Lets the connections' own tasks notice what arrived meanwhile: an end above all.
        yield_now().await;
        for connection in self.take_expired() {
            connection.close().await;
        }
        let Idle { mut connection, since } = self.idle().remove(target)?;
        let ready = timeout(READY_LIMIT, connection.sender.ready()).await;
        if !matches!(ready, Ok(Ok(()))) {
            connection.close().await;
            return None;
        }
        Some(Kept {
            connection,
            idle: self.clock.since(since),
        })
    }

    /// Keeps a connection whose last response has been read to its end.
    pub(crate) fn put(&self, target: &Target, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let since = self.clock.now();
        let mut idle = self.idle();
        if !idle.contains_key(target) && idle.len() >= MAX_TARGETS {
            let oldest = idle.iter().min_by_key(|(_, idle)| idle.since);
            if let Some(oldest) = oldest.map(|(target, _)| target.clone()) {
                idle.remove(&oldest);
            }
        }
        idle.insert(target.clone(), Idle { connection, since });
    }

    fn take_expired(&self) -> Vec<Connection> {
        let expired = |idle: &Idle| {
            self.clock.since(idle.since) > IDLE_LIMIT || self.clock.since(idle.connection.opened) > MAX_AGE
        };
        let mut idle = self.idle();
        idle.extract_if(|_, idle| expired(idle))
            .map(|(_, idle)| idle.connection)
            .collect()
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Target, Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
