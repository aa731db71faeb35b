//! What comes before a dial: may it go there, to which addresses, and is the path to them good; if not, why not.

use std::{net::IpAddr, time::Duration};

use tailnet::{
    connect::{Route, RouteError, Router},
    diagnosis::KeyKind,
    protocol::{INVOCATION_LIMIT, OUTSIDE},
};
use tokio::{
    join, select,
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::{
    auth::key_source::KeyKindSource,
    connectivity::monitor::{Connectivity, Outcome},
    error::JoinError,
    localapi::{
        client::{DNS_LIMIT, LocalApi},
        error::LocalApiError,
        netmap::Netmap,
    },
    minutes::TailnetMinutes,
    policy::{Permitted, Uncovered, permitted_addresses},
    supervisor::{
        exit_node::ExitNode,
        process::Supervisor,
        state::{Tailnet, TailnetState, Unavailable},
    },
};

/// How long after its start the network may still be settling: dials that fail at once then are worth another try, and
/// peers may not have heard of this machine.
const SETTLING: Duration = Duration::from_secs(3);

/// Decides about dials. Clones share the tailnet.
#[derive(Clone)]
pub struct Preflight {
    tailnet: Tailnet,
    connectivity: Connectivity,
    api: LocalApi,
    netmap: watch::Receiver<Netmap>,
    uncovered: Uncovered,
    /// The exit node that must be used.
    required_exit_node: Option<String>,
    key_kind: KeyKindSource,
    minutes: TailnetMinutes,
    /// When the environment began to join the tailnet.
    began: Instant,
}

impl Preflight {
    /// Decides about dials into the tailnet that `supervisor` has just begun to join.
    pub fn new(supervisor: &Supervisor, uncovered: Uncovered, exit_node: Option<&ExitNode>) -> Self {
        Self {
            tailnet: supervisor.tailnet().clone(),
            connectivity: supervisor.connectivity().clone(),
            api: supervisor.api().clone(),
            netmap: supervisor.netmap().clone(),
            uncovered,
            required_exit_node: exit_node.filter(|node| node.required).map(|node| node.node.clone()),
            key_kind: supervisor.key_kind(),
            minutes: supervisor.minutes().clone(),
            began: Instant::now(),
        }
    }

    /// The same for another policy.
    #[must_use]
    pub fn with_policy(&self, uncovered: Uncovered) -> Self {
        Self {
            uncovered,
            ..self.clone()
        }
    }

    /// The state of the tailnet.
    pub fn tailnet(&self) -> &Tailnet {
        &self.tailnet
    }

    /// What kind of key the environment logs in with, as far as it is known.
    pub fn key_kind(&self) -> Option<KeyKind> {
        (self.key_kind)()
    }

    /// tailscaled's LocalAPI.
    pub fn api(&self) -> &LocalApi {
        &self.api
    }

    /// The first address of the peer that a connection to `address` goes to.
    pub fn address_of_peer(&self, address: IpAddr) -> Option<IpAddr> {
        self.netmap.borrow().peer_for(address)?.addresses.first().copied()
    }

    /// The round trip to the peer behind `address`, if one has been measured.
    pub fn round_trip(&self, address: IpAddr) -> Option<Duration> {
        self.connectivity.round_trip(address)
    }

    /// The path's generation.
    pub fn path(&self) -> u64 {
        self.connectivity.path()
    }

    /// Makes sure that the tailnet can be used now. Returns the path's generation.
    pub async fn keep_alive(&self, deadline: Instant) -> Result<u64, RouteError> {
        loop {
            let since = self.running(deadline).await?;
            select! {
                biased;
                () = self.tailnet.ended(since) => {}
                outcome = self.connectivity.verify_links(deadline) => return self.verified(outcome, None),
            }
        }
    }

    /// The function was invoked, perhaps after a freeze: looks after the path, or after a login that failed before. Whoever
    /// waits for it keeps the environment awake meanwhile, which delays no response, but is billed. Returns the path's
    /// generation.
    pub async fn invoked(&self, deadline: Instant) -> Result<u64, RouteError> {
        // Lambda may end an environment without SHUTDOWN.
        self.minutes.tell();
        if !self.tailnet.is_wanted() {
            return Ok(self.path());
        }
        let deadline = deadline.min(Instant::now() + INVOCATION_LIMIT);
        if let TailnetState::Unavailable(_) = self.tailnet.state() {
            return match self.tailnet.retry(deadline).await.unavailable() {
                Some(trouble) => Err(unavailable(trouble)),
                None => Ok(self.path()),
            };
        }
        self.keep_alive(deadline).await
    }

    async fn running(&self, deadline: Instant) -> Result<Instant, RouteError> {
        self.tailnet.want();
        self.tailnet.wait_until_running(deadline).await.map_err(unavailable)
    }

    /// What a look at the path means to whoever asked.
    fn verified(&self, outcome: Option<Outcome>, address: Option<IpAddr>) -> Result<u64, RouteError> {
        match outcome {
            Some(Outcome::DaemonSilent) => {
                self.tailnet.report_unresponsive();
                Err(daemon_silent())
            }
            Some(Outcome::PeerSilent) if address.is_some_and(|address| self.leaves_by_required_exit_node(address)) => {
                Err(self.exit_node_silent())
            }
            _ => Ok(self.connectivity.path()),
        }
    }

    fn leaves_by_required_exit_node(&self, address: IpAddr) -> bool {
        self.required_exit_node.is_some() && self.netmap.borrow().leaves_by_exit_node(address)
    }

    fn exit_node_silent(&self) -> RouteError {
        let error = JoinError::ExitNodeUnavailable {
            node: self.required_exit_node.clone().unwrap_or_default(),
            reason: "it does not answer".to_owned(),
        };
        unavailable(Unavailable::from(&error))
    }

    /// The addresses of `host` that may be dialled.
    async fn permitted(&self, host: &str, deadline: Instant) -> Result<Permitted, RouteError> {
        let candidates = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.resolve(host, deadline).await?,
        };
        if candidates.is_empty() {
            let message = format!("the name '{host}' is unknown to the tailnet's resolver");
            return Err(RouteError::UnknownName(message));
        }
        self.check_policy(&candidates)
    }

    /// Those of `candidates` that may be dialled.
    fn check_policy(&self, candidates: &[IpAddr]) -> Result<Permitted, RouteError> {
        let permitted = permitted_addresses(candidates, &self.netmap.borrow(), self.uncovered);
        permitted.map_err(|reason| {
            // What a required exit node does not cover, because it is gone, must not leave.
            if self.exit_node_is_gone() {
                self.exit_node_silent()
            } else {
                RouteError::NotAllowed(reason)
            }
        })
    }

    async fn resolve(&self, name: &str, deadline: Instant) -> Result<Vec<IpAddr>, RouteError> {
        // Names of machines are known from the netmap, whatever the state of the path.
        let (known, qualified) = {
            let netmap = self.netmap.borrow();
            (netmap.addresses_of(name), netmap.qualified(name))
        };
        if let Some(addresses) = known {
            return Ok(addresses);
        }
        // Other names may be asked for of a name server behind a peer.
        self.connectivity.verify_links(deadline).await;
        let queries = async {
            join!(
                self.api.addresses(&qualified, "A"),
                self.api.addresses(&qualified, "AAAA")
            )
        };
        let Ok((v4, v6)) = timeout_at(deadline, queries).await else {
            return Err(self.dns_failed(name, &LocalApiError::Silent { limit: DNS_LIMIT }));
        };
        match (v4, v6) {
            (Ok(v4), Ok(v6)) => Ok([v4, v6].concat()),
            (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => Ok(found),
            (Err(error), _) | (_, Err(error)) => Err(self.dns_failed(name, &error)),
        }
    }

    fn dns_failed(&self, name: &str, error: &LocalApiError) -> RouteError {
        if matches!(error, LocalApiError::Silent { .. }) {
            self.tailnet.report_unresponsive();
        }
        RouteError::Unavailable {
            code: "ResolverSilent".to_owned(),
            message: format!(
                "the tailnet's resolver does not answer for the name '{name}': {error}; fix: check the tailnet's name servers"
            ),
            retry_after: None,
        }
    }
}

impl Router for Preflight {
    async fn route(&self, host: &str, deadline: Instant) -> Result<Route, RouteError> {
        let since = self.running(deadline).await?;
        self.connectivity.touch();
        let permitted = self.permitted(host, deadline).await?;
        let just_joined = since.elapsed() < SETTLING;
        let first = permitted.addresses.first().copied();
        if let Some(address) = first.filter(|_| just_joined && permitted.covered && self.is_online(&permitted)) {
            self.connectivity.meet(address);
        }
        Ok(Route {
            verified: permitted.covered && first.is_some_and(|address| self.connectivity.is_fresh(address)),
            round_trip: first.and_then(|address| self.connectivity.round_trip(address)),
            addresses: permitted.addresses,
            sources: permitted.covered.then(|| self.netmap.borrow().own_addresses().to_vec()),
            path: if permitted.covered {
                self.connectivity.path()
            } else {
                OUTSIDE
            },
            just_joined,
            ready: since.saturating_duration_since(self.began),
        })
    }

    async fn verify(&self, address: IpAddr, deadline: Instant) -> Result<u64, RouteError> {
        loop {
            let since = self.running(deadline).await?;
            if self.netmap.borrow().peer_for(address).is_none() {
                // Its route may have been withdrawn since it was dialled.
                return self.check_policy(&[address]).map(|_| OUTSIDE);
            }
            select! {
                biased;
                // Another login has a tailscaled of its own, and other paths.
                () = self.tailnet.ended(since) => {}
                outcome = self.connectivity.verify(address, deadline) => return self.verified(outcome, Some(address)),
            }
        }
    }

    async fn stalled(&self, address: IpAddr, deadline: Instant) {
        let known = self.netmap.borrow().peer_for(address).is_some();
        if known && self.connectivity.stalled(address, deadline).await == Some(Outcome::DaemonSilent) {
            self.tailnet.report_unresponsive();
        }
    }
}

impl Preflight {
    fn exit_node_is_gone(&self) -> bool {
        let netmap = self.netmap.borrow();
        let node = self.required_exit_node.as_ref();
        node.is_some_and(|node| netmap.exit_candidate(node).is_err())
    }

    /// Whether the control server has the peer connected: one that is not cannot hear of this machine.
    fn is_online(&self, permitted: &Permitted) -> bool {
        let netmap = self.netmap.borrow();
        let first = permitted.addresses.first();
        first.is_some_and(|address| netmap.peer_for(*address).is_some_and(|peer| peer.online))
    }
}

fn unavailable(unavailable: Unavailable) -> RouteError {
    RouteError::Unavailable {
        code: unavailable.code.to_owned(),
        message: unavailable.message,
        retry_after: None,
    }
}

fn daemon_silent() -> RouteError {
    RouteError::Unavailable {
        code: "TailscaledFailed".to_owned(),
        message: "tailscaled does not respond; fix: none: it is started again if that goes on".to_owned(),
        retry_after: None,
    }
}
