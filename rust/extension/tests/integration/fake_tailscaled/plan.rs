//! What a test plans.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ipnet::IpNet;

/// The auth key that it logs in with.
pub(crate) const KEY: &str = "tskey-auth-a";
/// The peer that is there unless a test says otherwise.
pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 2));
/// The notification of a control server that cannot be reached.
pub(crate) const UNREACHABLE: &str =
    r#"{"Health":{"Warnings":{"login-state":{"Args":{"error":"fetch control key: dial tcp: connection refused"}}}}}"#;
/// The notification of a machine that Tailnet Lock shuts out.
pub(crate) const LOCKED_OUT: &str = r#"{"Health":{"Warnings":{"tailnet-lock":{"Text":"this node is locked out; it will not have connectivity until it is signed"}}}}"#;

/// How tailscaled behaves; a change counts from the next call on.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// How long after the start its LocalAPI listens. `None`: never.
    pub(crate) listens_after: Option<Duration>,
    /// When it ends by itself.
    pub(crate) lives_for: Option<Duration>,
    /// What comes of a login with the key.
    pub(crate) login: Login,
    /// How long the login takes.
    pub(crate) login_takes: Duration,
    /// What comes of a registration by the node key.
    pub(crate) renewal: Renewal,
    /// Calls that are never answered, each by a part of its path and query.
    pub(crate) hung: Vec<&'static str>,
    /// For how long it gets no processor once it is switched off.
    pub(crate) stalls_when_switched_off: Duration,
    /// How many of the next attempts to switch it on are refused.
    pub(crate) refused_switch_ons: usize,
    /// New control clients do not reach the control server.
    pub(crate) control_unreachable: bool,
    /// How long new connections to the DERP servers take.
    pub(crate) derp_takes: Duration,
    /// How long after the login it has chosen its home DERP region, by which peers answer that were told it is gone. Until then
    /// it is running once it has sent something to a peer.
    pub(crate) home_after: Duration,
    /// The peers that the control server reports.
    pub(crate) peers: Vec<Peer>,
    /// The names, other than the machines', that the tailnet's resolver knows.
    pub(crate) names: Vec<(&'static str, Ipv4Addr)>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            listens_after: Some(Duration::from_millis(20)),
            lives_for: None,
            login: Login::Accepted,
            login_takes: Duration::ZERO,
            renewal: Renewal::Accepted,
            hung: Vec::new(),
            stalls_when_switched_off: Duration::ZERO,
            refused_switch_ons: 0,
            control_unreachable: false,
            derp_takes: Duration::from_millis(30),
            home_after: Duration::ZERO,
            peers: vec![Peer::new("db", PEER)],
            names: Vec::new(),
        }
    }
}

impl Plan {
    /// The peer that a packet to `address` goes to: its owner, or the first router.
    pub(super) fn peer_for(&mut self, address: IpAddr) -> Option<&mut Peer> {
        let owner = self.peers.iter().position(|peer| peer.address == address);
        let router = || self.peers.iter().position(|peer| peer.routes_to(address));
        owner.or_else(router).map(|index| &mut self.peers[index])
    }

    /// A tailnet with these peers.
    pub(crate) fn with_peers(peers: impl IntoIterator<Item = Peer>) -> Self {
        Self {
            peers: peers.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// What comes of a login with the key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Login {
    /// The machine joins.
    Accepted,
    /// A notification instead.
    Notifies(&'static str),
    /// Nothing.
    Silent,
}

/// What comes of a registration by the node key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Renewal {
    /// The machine is known.
    Accepted,
    /// It is refused with these words.
    Refused(&'static str),
    /// The machine is unknown: somebody has to log in.
    Unknown,
    /// Nothing.
    Silent,
}

/// What comes of pings of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pings {
    /// An answer after the round trip.
    Answered,
    /// Nothing, ever.
    Ignored,
    /// tailscaled's own error, at once.
    Fail(&'static str),
}

/// A peer.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    /// Whether the control server has it connected.
    pub(crate) online: bool,
    /// What it routes besides its own address.
    pub(crate) routes: &'static [&'static str],
    pub(crate) round_trip: Duration,
    pub(crate) disco: Pings,
    pub(crate) tsmp: Pings,
    /// How many of the next pings of each kind are lost: disco, TSMP.
    pub(crate) lost: (usize, usize),
    /// How long after the login it hears of this machine: it ignores pings before.
    pub(crate) hears_after: Duration,
}

impl Peer {
    /// One that is online and answers after 10 ms.
    pub(crate) fn new(name: &str, address: IpAddr) -> Self {
        Self {
            name: name.to_owned(),
            address,
            online: true,
            routes: &[],
            round_trip: Duration::from_millis(10),
            disco: Pings::Answered,
            tsmp: Pings::Answered,
            lost: (0, 0),
            hears_after: Duration::ZERO,
        }
    }

    /// The same at another distance.
    pub(crate) fn at(self, round_trip: Duration) -> Self {
        Self { round_trip, ..self }
    }

    /// The same, switched off without the control server having noticed.
    pub(crate) fn silent(self) -> Self {
        Self {
            disco: Pings::Ignored,
            tsmp: Pings::Ignored,
            ..self
        }
    }

    /// The same as an exit node.
    pub(crate) fn exit_node(self) -> Self {
        Self {
            routes: &["0.0.0.0/0", "::/0"],
            ..self
        }
    }

    /// The same as a subnet router.
    pub(crate) fn router(self) -> Self {
        Self {
            routes: &["10.1.0.0/16"],
            ..self
        }
    }

    fn routes_to(&self, address: IpAddr) -> bool {
        let mut routes = self.routes.iter().map(|route| route.parse::<IpNet>().unwrap());
        routes.any(|route| route.contains(&address))
    }

    /// Whether a ping is lost on the way.
    pub(super) fn loses(&mut self, tsmp: bool) -> bool {
        let lost = if tsmp { &mut self.lost.1 } else { &mut self.lost.0 };
        let loses = *lost > 0;
        *lost = lost.saturating_sub(1);
        loses
    }

    /// Switches it off, without the control server noticing.
    pub(crate) fn switch_off(&mut self) {
        (self.disco, self.tsmp) = (Pings::Ignored, Pings::Ignored);
    }

    /// Switches it on.
    pub(crate) fn switch_on(&mut self) {
        (self.disco, self.tsmp) = (Pings::Answered, Pings::Answered);
    }
}
