//! tailscaled in memory: its LocalAPI, its logins, its peers and its end go as a test plans them.
//!
//! The kernel has no part in it, so paused time advances only when nobody has anything left to do. It is as strict as
//! tailscaled 1.102.4: what that would not accept, or would block on, fails the test or blocks here too.

mod local_api;
mod netmap;
mod plan;

use std::{
    collections::{HashMap, HashSet},
    io,
    net::IpAddr,
    ops::Sub,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use extension::{
    localapi::{
        client::LocalApi,
        transport::{Connection, Transport},
    },
    tailscaled::process::{Program, Running},
};
use futures_util::future::BoxFuture;
use tokio::{
    io::duplex,
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

pub(crate) use self::plan::{KEY, LOCKED_OUT, Login, PEER, Peer, Pings, Plan, Renewal, UNREACHABLE};

/// What its LocalAPI was asked to do, in all lives.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// `break-derp-conns`.
    pub(crate) derp_reconnects: usize,
    /// Switched off, and on again.
    pub(crate) renewals: usize,
    /// Control clients that were detached.
    pub(crate) disconnects: usize,
    /// Registrations with the auth key.
    pub(crate) logins: usize,
    /// Registrations by the node key.
    pub(crate) registrations: usize,
    /// Log-outs that the control server heard of.
    pub(crate) log_outs: usize,
}

impl Counts {
    /// Nothing was done.
    pub(crate) const NONE: Self = Self {
        derp_reconnects: 0,
        renewals: 0,
        disconnects: 0,
        logins: 0,
        registrations: 0,
        log_outs: 0,
    };
    /// The DERP connections were made anew, and the control client after them.
    pub(crate) const MILD_STEP: Self = Self {
        derp_reconnects: 1,
        registrations: 1,
        ..Self::NONE
    };
    /// The WireGuard sessions were renewed while no control client was attached.
    pub(crate) const STRONG_STEP: Self = Self {
        renewals: 1,
        disconnects: 1,
        registrations: 1,
        ..Self::NONE
    };
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            derp_reconnects: self.derp_reconnects - before.derp_reconnects,
            renewals: self.renewals - before.renewals,
            disconnects: self.disconnects - before.disconnects,
            logins: self.logins - before.logins,
            registrations: self.registrations - before.registrations,
            log_outs: self.log_outs - before.log_outs,
        }
    }
}

/// The program, and all the lives that it had. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct FakeTailscaled(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    plan: Plan,
    starts: Vec<Instant>,
    /// Method, path and body of each call, in all lives.
    calls: Vec<String>,
    counts: Counts,
    /// What the real one would not have accepted.
    violations: Vec<String>,
    /// Pings that wait for an answer, by address, and the most there were at a time for any address.
    in_flight: HashMap<IpAddr, usize>,
    max_in_flight: usize,
    life: Option<Life>,
}

/// One life of the process.
#[derive(Debug)]
struct Life {
    listens_at: Option<Instant>,
    /// The listeners to its notifications, which end with the life.
    listeners: Vec<mpsc::UnboundedSender<String>>,
    ended: watch::Sender<bool>,
    removals: mpsc::Sender<()>,
    /// The auth key of `start`.
    has_key: bool,
    state: u8,
    joined_at: Option<Instant>,
    control: Option<ControlClient>,
    /// A change of the preferences holds tailscaled's lock until then.
    locked_until: Option<Instant>,
    /// Nobody answers until the connections are made anew.
    links_dead: bool,
    /// When the connections to DERP are there.
    links_ready: Instant,
    /// The peers with which there is a WireGuard session.
    sessions: HashSet<IpAddr>,
    /// The peers whose session is dead, without tailscaled noticing.
    stale: HashSet<IpAddr>,
}

#[derive(Debug, Clone, Copy)]
struct ControlClient {
    /// Its connection has died, or the control server cannot be reached.
    dead: bool,
    /// It sleeps until then, and holds a lock meanwhile that changes of the preferences wait for.
    backs_off_until: Option<Instant>,
}

impl FakeTailscaled {
    pub(crate) fn new(plan: Plan) -> Self {
        Self(Arc::new(Mutex::new(State {
            plan,
            starts: Vec::new(),
            calls: Vec::new(),
            counts: Counts::default(),
            violations: Vec::new(),
            in_flight: HashMap::new(),
            max_in_flight: 0,
            life: None,
        })))
    }

    /// When each of its lives began.
    pub(crate) fn starts(&self) -> Vec<Instant> {
        self.state().starts.clone()
    }

    /// How often its LocalAPI was called with `part` in the method, path or body.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.state().calls.iter().filter(|call| call.contains(part)).count()
    }

    /// The calls so far, as method, path and body.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// How often a peer was pinged, by disco and by TSMP.
    pub(crate) fn pings(&self, address: IpAddr) -> (usize, usize) {
        let of = |kind| self.count(&format!("ping?ip={address}&type={kind} "));
        (of("disco"), of("TSMP"))
    }

    /// What it was asked to do so far.
    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// The most pings of one peer that waited for an answer at a time.
    pub(crate) fn max_in_flight(&self) -> usize {
        self.state().max_in_flight
    }

    /// How many pings of a peer wait for an answer now.
    pub(crate) fn in_flight(&self, address: IpAddr) -> usize {
        self.state().in_flight.get(&address).copied().unwrap_or_default()
    }

    /// What the real one would not have accepted.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// Whether it runs.
    pub(crate) fn is_running(&self) -> bool {
        self.state().life.is_some()
    }

    /// Changes the plan, from the next call on.
    pub(crate) fn plan(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.state().plan);
    }

    /// Changes one peer.
    pub(crate) fn peer(&self, address: IpAddr, change: impl FnOnce(&mut Peer)) {
        let mut state = self.state();
        change(
            state
                .plan
                .peers
                .iter_mut()
                .find(|peer| peer.address == address)
                .unwrap(),
        );
    }

    /// Sends a notification.
    pub(crate) fn notify(&self, line: &str) {
        if let Some(life) = &self.state().life {
            life.notify(line);
        }
    }

    /// Closes the streams of notifications, as tailscaled does to listeners that fall behind.
    pub(crate) fn close_bus(&self) {
        if let Some(life) = &mut self.state().life {
            life.listeners.clear();
        }
    }

    /// Completes the login.
    pub(crate) fn join(&self) {
        let mut state = self.state();
        let netmap = state.plan.netmap_change();
        if let Some(life) = &mut state.life {
            life.joined_at.get_or_insert(Instant::now());
            life.notify(&netmap);
            life.enter(5);
            life.enter(6);
        }
    }

    /// The NAT in front of the environment forgets its flows: no peer answers until the connections are made anew, and the
    /// control client's connection is dead as well.
    pub(crate) fn kill_links(&self) {
        let mut state = self.state();
        let life = state.life.as_mut().unwrap();
        life.links_dead = true;
        life.control = life.control.map(|control| ControlClient { dead: true, ..control });
    }

    /// The control client's connection dies.
    pub(crate) fn kill_control(&self) {
        let mut state = self.state();
        let life = state.life.as_mut().unwrap();
        life.control = life.control.map(|control| ControlClient { dead: true, ..control });
    }

    /// The control client sleeps in its back-off.
    pub(crate) fn back_off_control(&self, pause: Duration) {
        let until = Some(Instant::now() + pause);
        let mut state = self.state();
        let life = state.life.as_mut().unwrap();
        life.control = Some(ControlClient {
            dead: true,
            backs_off_until: until,
        });
    }

    /// The WireGuard session with a peer dies unnoticed.
    pub(crate) fn make_stale(&self, address: IpAddr) {
        self.state().life.as_mut().unwrap().stale.insert(address);
    }

    /// Its LocalAPI ends before it does.
    pub(crate) fn close_local_api(&self) {
        if let Some(life) = &mut self.state().life {
            (life.listens_at, life.listeners) = (None, Vec::new());
        }
    }

    /// It prints that the control server does not know its machine.
    pub(crate) fn print_removal(&self) {
        if let Some(life) = &self.state().life {
            life.removals.try_send(()).unwrap();
        }
    }

    /// It dies.
    pub(crate) fn die(&self) {
        if let Some(life) = self.state().life.take() {
            life.ended.send_replace(true);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Life {
    fn notify(&self, line: &str) {
        for listener in &self.listeners {
            // A listener that is gone misses nothing.
            let _ = listener.send(line.to_owned());
        }
    }

    fn enter(&mut self, state: u8) {
        self.state = state;
        self.notify(&format!(r#"{{"State":{state}}}"#));
    }
}

impl Program for FakeTailscaled {
    type Running = FakeProcess;

    fn start(&self) -> Result<FakeProcess, String> {
        let mut state = self.state();
        let now = Instant::now();
        state.starts.push(now);
        let (ended, end) = watch::channel(false);
        let (removed, removals) = mpsc::channel(1);
        state.life = Some(Life {
            listens_at: state.plan.listens_after.map(|pause| now + pause),
            listeners: Vec::new(),
            ended,
            removals: removed,
            has_key: false,
            state: 2,
            joined_at: None,
            control: None,
            locked_until: None,
            links_dead: false,
            links_ready: now,
            sessions: HashSet::new(),
            stale: HashSet::new(),
        });
        Ok(FakeProcess {
            tailscaled: self.clone(),
            lives_for: state.plan.lives_for,
            end,
            removals: Some(removals),
        })
    }

    fn local_api(&self) -> LocalApi {
        LocalApi::with_transport(Arc::new(self.clone()))
    }
}

impl Transport for FakeTailscaled {
    fn ready(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async {
            let listens_at = self.state().life.as_ref().and_then(|life| life.listens_at);
            match listens_at {
                Some(listens_at) => sleep_until(listens_at).await,
                None => std::future::pending().await,
            }
            Ok(())
        })
    }

    fn connect(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async {
            let now = Instant::now();
            let listens = matches!(&self.state().life, Some(Life { listens_at: Some(at), .. }) if *at <= now);
            if !listens {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(1 << 16);
            tokio::spawn(self.clone().serve(ours));
            Ok(Box::new(theirs) as Box<dyn Connection>)
        })
    }
}

/// One life, as the supervisor sees it.
pub(crate) struct FakeProcess {
    tailscaled: FakeTailscaled,
    lives_for: Option<Duration>,
    end: watch::Receiver<bool>,
    removals: Option<mpsc::Receiver<()>>,
}

impl Running for FakeProcess {
    fn removals(&mut self) -> mpsc::Receiver<()> {
        self.removals.take().unwrap()
    }

    async fn ended(&mut self) -> String {
        let lifetime = self.lives_for.unwrap_or(Duration::MAX);
        tokio::select! {
            () = sleep(lifetime) => self.tailscaled.die(),
            _ = self.end.wait_for(|ended| *ended) => {}
        }
        "tailscaled ended with exit code 1".into()
    }

    async fn kill(&mut self) -> io::Result<()> {
        self.tailscaled.die();
        Ok(())
    }
}
