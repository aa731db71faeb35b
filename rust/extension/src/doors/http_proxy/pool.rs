//! Connections to targets, kept between requests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use hyper::client::conn::http1::SendRequest;
use tokio::task::yield_now;

use crate::doors::{http_proxy::response::Body, target::Target};

/// How long a connection is kept idle: many servers close it after 60 s or less.
const IDLE_LIMIT: Duration = Duration::from_secs(50);
/// How long one may have been idle for a request that cannot be repeated: its end may be on the way.
const FRESH: Duration = Duration::from_secs(1);
/// How many connections are kept, to all targets.
const MAX_KEPT: usize = 32;

/// The kept connections. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<HashMap<Target, Vec<Kept>>>>);

struct Kept {
    sender: SendRequest<Body>,
    path: Option<u64>,
    since: SystemTime,
}

impl Pool {
    /// Takes out a connection to `target` over the path `now`, or over the function's own network; one that was used a moment
    /// ago, unless the request is `repeatable`.
    pub(crate) async fn take(
        &self,
        target: &Target,
        now: u64,
        repeatable: bool,
    ) -> Option<(SendRequest<Body>, Option<u64>)> {
        // Lets the connections' own tasks notice what arrived meanwhile: an end above all.
        yield_now().await;
        let clock = SystemTime::now();
        let mut kept = self.lock();
        kept.retain(|_, connections| {
            connections.retain(|kept| kept.is_usable(now, clock));
            !connections.is_empty()
        });
        let limit = if repeatable { IDLE_LIMIT } else { FRESH };
        let connections = kept.get_mut(target)?;
        let fit = |kept: &Kept| kept.sender.is_ready() && idle(kept.since, clock).is_some_and(|idle| idle < limit);
        let Kept { sender, path, .. } = connections.remove(connections.iter().rposition(fit)?);
        Some((sender, path))
    }

    /// Keeps a connection, which is used again when the response under way has been read.
    pub(crate) fn put(&self, target: Target, sender: SendRequest<Body>, path: Option<u64>) {
        let mut kept = self.lock();
        if kept.values().map(Vec::len).sum::<usize>() < MAX_KEPT {
            let since = SystemTime::now();
            kept.entry(target).or_default().push(Kept { sender, path, since });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Target, Vec<Kept>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_usable(&self, now: u64, clock: SystemTime) -> bool {
        let expired = || idle(self.since, clock).is_none_or(|idle| idle >= IDLE_LIMIT);
        !self.sender.is_closed() && self.path.is_none_or(|path| path == now) && !expired()
    }
}

/// By the wall clock, which goes on in a freeze; `None` where it was set back.
fn idle(since: SystemTime, clock: SystemTime) -> Option<Duration> {
    clock.duration_since(since).ok()
}
