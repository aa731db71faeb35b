//! Routes that led to a connection a moment ago. A target that closes each connection is dialled for each request, and the
//! extension need not be asked about it each time.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tailnet::{
    SocketRouter,
    connect::{Route, RouteError, Router},
};
use tokio::time::Instant;

use crate::clock::Clock;

/// How long a route may be used without asking again, by the wall clock: a freeze ends it. What the tailnet ceases to cover
/// meanwhile, tailscaled dials from another address, and nothing is sent on such a connection.
const RECENT: Duration = Duration::from_secs(1);
/// How many are known at most.
const MAX_ROUTES: usize = 64;

/// A [`Router`] that asks the extension unless it did so a moment ago, and a connection came of it.
pub(crate) struct RecentRoutes {
    router: SocketRouter,
    clock: Clock,
    known: Mutex<HashMap<String, Known>>,
}

/// What the extension said of a host.
struct Known {
    route: Route,
    asked: SystemTime,
    /// Whoever used it last has its connection: whoever has not yet would ask again because it led nowhere.
    connected: bool,
}

impl RecentRoutes {
    pub(crate) fn new(router: SocketRouter, clock: Clock) -> Self {
        Self {
            router,
            clock,
            known: Mutex::default(),
        }
    }

    /// A connection came of the last route to `host`.
    pub(crate) fn connected(&self, host: &str) {
        if let Some(known) = self.known().get_mut(host) {
            known.connected = true;
        }
    }

    /// The route to `host`, to be used once.
    fn recall(&self, host: &str) -> Option<Route> {
        let mut known = self.known();
        let known = known.get_mut(host)?;
        let usable = known.connected && self.clock.since(known.asked) < RECENT;
        known.connected = false;
        usable.then(|| known.route.clone())
    }

    fn remember(&self, host: &str, route: &Route, asked: SystemTime) {
        let mut known = self.known();
        known.retain(|_, known| self.clock.since(known.asked) < RECENT);
        known.remove(host);
        if route.verified && known.len() < MAX_ROUTES {
            let (route, connected) = (route.clone(), false);
            known.insert(
                host.to_owned(),
                Known {
                    route,
                    asked,
                    connected,
                },
            );
        }
    }

    /// Sound whatever happened to its last holder: each change of it is whole.
    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Router for RecentRoutes {
    async fn route(&self, host: &str, deadline: Instant) -> Result<Route, RouteError> {
        if let Some(route) = self.recall(host) {
            return Ok(route);
        }
        let asked = self.clock.now();
        let route = self.router.route(host, deadline).await?;
        self.remember(host, &route, asked);
        Ok(route)
    }

    async fn verify(&self, address: IpAddr, deadline: Instant) -> Result<u64, RouteError> {
        self.router.verify(address, deadline).await
    }

    async fn stalled(&self, address: IpAddr, deadline: Instant) {
        self.router.stalled(address, deadline).await;
    }
}
