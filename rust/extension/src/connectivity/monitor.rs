//! The paths into the tailnet, as the rest of the extension asks for them. A question about a peer joins the look at it that
//! is under way.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use crate::{
    clock::Clock,
    connectivity::{
        evidence::Evidence,
        repair::{self, StepLimiter},
    },
    localapi::{client::LocalApi, error::LocalApiError, netmap::Netmap},
};

/// What a look at the path to a peer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The peer answers.
    Alive,
    /// The path was made anew: what was sent over the old one may be lost.
    Renewed,
    /// The links are alive, but the peer does not answer: it is off, or out of reach.
    PeerSilent,
    /// Nothing is known: nobody can be pinged, or nobody answers.
    Unknown,
    /// tailscaled does not respond.
    DaemonSilent,
}

type Look = Shared<BoxFuture<'static, Outcome>>;
pub(super) type Greeting = Shared<BoxFuture<'static, ()>>;

/// The paths into the tailnet. Clones share it.
#[derive(Clone)]
pub struct Connectivity(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) api: LocalApi,
    pub(super) clock: Clock,
    pub(super) netmap: watch::Receiver<Netmap>,
    /// The machine's own name before the tailnet made it unique: machines of the same function have it too.
    pub(super) hostname: String,
    pub(super) evidence: Mutex<Evidence>,
    /// Looks under way, one for each address at most.
    pub(super) looks: Mutex<HashMap<IpAddr, Look>>,
    /// Greetings under way, likewise.
    pub(super) greetings: Mutex<HashMap<IpAddr, Greeting>>,
    /// Wakes those who wait for a session.
    pub(super) proofs: Notify,
    pub(super) steps: StepLimiter,
    /// The login has come to its end.
    pub(super) joined: watch::Sender<bool>,
    /// tailscaled has chosen the home DERP region.
    pub(super) home: AtomicBool,
}

impl Connectivity {
    /// The paths of the tailscaled behind `api`.
    pub fn new(api: LocalApi, clock: Clock, netmap: watch::Receiver<Netmap>, hostname: &str) -> Self {
        let now = clock.now();
        Self(Arc::new(Inner {
            api,
            clock,
            netmap,
            hostname: hostname.to_ascii_lowercase(),
            evidence: Mutex::new(Evidence::new(now)),
            looks: Mutex::default(),
            greetings: Mutex::default(),
            proofs: Notify::new(),
            steps: StepLimiter::default(),
            joined: watch::Sender::default(),
            home: AtomicBool::default(),
        }))
    }

    /// The path's generation: a connection is never older than the path that it was made on.
    pub fn path(&self) -> u64 {
        self.evidence().path()
    }

    /// The round trip to `address`, as far as it is known.
    pub fn round_trip(&self, address: IpAddr) -> Option<Duration> {
        self.evidence().round_trip(address)
    }

    /// The login has come to its end.
    pub fn joined(&self) {
        self.evidence().joined(self.0.clock.now());
        self.0.joined.send_replace(true);
    }

    /// A new tailscaled starts: nothing is known of its paths.
    pub fn renew_path(&self) {
        self.evidence().renew_path();
        self.0.steps.reset();
        self.0.joined.send_replace(false);
        self.0.home.store(false, Relaxed);
    }

    /// The longest round trip that was seen lately.
    pub fn longest_round_trip(&self) -> Option<Duration> {
        self.evidence().longest_round_trip()
    }

    /// Detaches the control client, which may have a dead connection.
    pub(crate) async fn detach_control(&self) -> Result<(), LocalApiError> {
        repair::detach_control(&self.0.api).await
    }

    /// The environment is awake. Returns for how long nothing has been heard, if that is long.
    pub fn touch(&self) -> Option<Duration> {
        let mut evidence = self.evidence();
        evidence.touch(self.0.clock.now());
        evidence.gap()
    }

    /// Whether the path to `address`, which is about to be used, was proved a moment ago.
    pub fn is_fresh(&self, address: IpAddr) -> bool {
        self.touch();
        let mut evidence = self.evidence();
        evidence.note_use(address);
        evidence.is_fresh(address, self.0.clock.now())
    }

    /// Makes sure that the path to `address` is alive: at once if something was heard lately, after a round trip otherwise,
    /// after a repair if the path has died. `None`: that has not come to an end by `deadline`; it goes on.
    pub async fn verify(&self, address: IpAddr, deadline: Instant) -> Option<Outcome> {
        if self.is_fresh(address) {
            return Some(Outcome::Alive);
        }
        // A greeting under way finds out the same, unless a freeze came in between: it would not notice dead links.
        let awake = self.evidence().gap().is_none();
        let greeting = lock(&self.0.greetings).get(&address).cloned().filter(|_| awake);
        if let Some(greeting) = greeting {
            timeout_at(deadline, greeting).await.ok()?;
            if self.evidence().is_fresh(address, self.0.clock.now()) {
                return Some(Outcome::Alive);
            }
        }
        timeout_at(deadline, self.look(address)).await.ok()
    }

    /// A dial to `address` stalls: looks at the path however fresh it seems.
    pub async fn stalled(&self, address: IpAddr, deadline: Instant) -> Option<Outcome> {
        self.touch();
        timeout_at(deadline, self.look(address)).await.ok()
    }

    /// Makes sure that the links are alive after a gap, by whichever peer should answer.
    pub async fn verify_links(&self, deadline: Instant) -> Option<Outcome> {
        if self.touch().is_none() {
            return Some(Outcome::Alive);
        }
        let wanted = self.evidence().recent().first().copied();
        let Some(address) = wanted.or_else(|| self.witnesses(None).first().copied()) else {
            return Some(Outcome::Unknown);
        };
        timeout_at(deadline, self.look(address)).await.ok()
    }

    /// Joins the look at the path to `address` that is under way, or begins one. It goes on when nobody waits for it.
    fn look(&self, address: IpAddr) -> Look {
        let mut looks = lock(&self.0.looks);
        let look = looks.entry(address).or_insert_with(|| {
            let this = self.clone();
            let look = async move {
                let outcome = this.look_now(address).await;
                lock(&this.0.looks).remove(&address);
                outcome
            };
            driven(look.boxed())
        });
        look.clone()
    }

    pub(super) fn evidence(&self) -> MutexGuard<'_, Evidence> {
        lock(&self.0.evidence)
    }
}

/// `work`, which goes on even if nobody waits for it.
pub(super) fn driven<T: Clone + Send + Sync + 'static>(work: BoxFuture<'static, T>) -> Shared<BoxFuture<'static, T>> {
    let work = work.shared();
    tokio::spawn(work.clone());
    work
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
