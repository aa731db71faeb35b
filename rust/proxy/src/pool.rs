//! Connections kept between requests, and between invocations, judged by the wall clock.
//!
//! A frozen environment's monotonic clock stands still while the other end goes on, and closes what is idle.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::time::timeout;

use crate::target::Target;

/// A connection that can take a request.
pub type Connection = SendRequest<Full<Bytes>>;

/// How long a kept connection may take to be ready; it is ready at once unless its end is being noticed.
const READY_LIMIT: Duration = Duration::from_millis(100);
/// How many connections are kept for one target, and for how many targets.
const PER_TARGET: usize = 8;
const TARGETS: usize = 64;

/// The kept connections.
#[derive(Default)]
pub struct Pool {
    idle: Mutex<HashMap<Target, Vec<Idle>>>,
}

struct Idle {
    connection: Connection,
    since: SystemTime,
}

impl Pool {
    /// A kept connection to `target` that is alive as far as can be seen, and how long it was idle by the wall clock.
    pub async fn take(&self, target: &Target, limit: Duration) -> Option<(Connection, Duration)> {
        // Lets the connections' own tasks notice what arrived meanwhile: an end above all.
        tokio::task::yield_now().await;
        while let Some(mut idle) = self.pop(target) {
            // A clock that was set back says nothing about the age.
            let age = SystemTime::now().duration_since(idle.since).unwrap_or(Duration::MAX);
            let open = age <= limit && !idle.connection.is_closed();
            if open && matches!(timeout(READY_LIMIT, idle.connection.ready()).await, Ok(Ok(()))) {
                return Some((idle.connection, age));
            }
        }
        None
    }

    /// Keeps a connection whose last answer has been read to its end.
    pub fn put(&self, target: &Target, connection: Connection) {
        if connection.is_closed() {
            return;
        }
        let since = SystemTime::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !idle.contains_key(target) && idle.len() >= TARGETS {
            let oldest = idle.iter().min_by_key(|(_, kept)| kept.last().map(|idle| idle.since));
            if let Some(oldest) = oldest.map(|(target, _)| target.clone()) {
                idle.remove(&oldest);
            }
        }
        let kept = idle.entry(target.clone()).or_default();
        if kept.len() == PER_TARGET {
            kept.remove(0);
        }
        kept.push(Idle { connection, since });
    }

    /// The connection used last: the likeliest to be alive.
    fn pop(&self, target: &Target) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(target)?;
        let last = kept.pop();
        if kept.is_empty() {
            idle.remove(target);
        }
        last
    }
}
