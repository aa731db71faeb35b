//! tailscaled in memory: its LocalAPI, its logins, its peers and its end go as a test plans them.
//!
//! The kernel has no part in it, so paused time advances only when nobody has anything left to do. It is as strict as
//! tailscaled 1.102.5: what that would not accept, or would block on, fails the test or blocks here too.

mod control;
mod counts;
mod local_api;
mod netmap;
mod pings;
mod plan;
mod process;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

pub(crate) use self::{
    counts::Counts,
    plan::{KEY, LOCKED_OUT, Login, PEER, Peer, Pings, Plan, Renewal, UNREACHABLE},
};

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
    /// The listeners to its notifications with their masks, which end with the life.
    listeners: Vec<(u32, mpsc::UnboundedSender<String>)>,
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
    /// Calls are taken from then on.
    wakes_at: Instant,
    /// When the connections to DERP are there.
    links_ready: Instant,
    /// The DERP servers have told the peers that this machine is gone.
    told_gone: bool,
    /// When the WireGuard session with a peer is there.
    sessions: HashMap<IpAddr, Instant>,
    /// When WireGuard's last message to begin a session was lost: the next one goes out 5 s later.
    lost_handshakes: HashMap<IpAddr, Instant>,
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

    /// Whether it is in the tailnet, and switched on.
    pub(crate) fn is_switched_on(&self) -> bool {
        self.state().life.as_ref().is_some_and(|life| life.state == 6)
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
        let (netmap, has_home) = (state.plan.netmap_change(), state.plan.home_after.is_zero());
        if let Some(life) = &mut state.life {
            life.joined_at.get_or_insert(Instant::now());
            life.notify(&netmap);
            life.enter(5);
            if has_home {
                life.enter(6);
            }
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

    /// It gets no processor for so long.
    pub(crate) fn stall(&self, time: Duration) {
        self.state().life.as_mut().unwrap().wakes_at = Instant::now() + time;
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
        for (_, listener) in &self.listeners {
            // A listener that is gone misses nothing.
            let _ = listener.send(line.to_owned());
        }
    }

    fn enter(&mut self, state: u8) {
        self.state = state;
        self.notify(&format!(r#"{{"State":{state}}}"#));
    }
}
