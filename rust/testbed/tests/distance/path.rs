//! The paths that are measured, and requests over them.

use std::{
    collections::BTreeSet,
    fmt,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use testbed::{
    Error,
    deadline::within,
    distance::{PROFILES, Profile},
    lambda::{Event, Function},
    nat,
    raw_target::{Move, RawTarget},
    suite::Setting,
    world::{Surroundings, World},
};

use crate::table::Sample;

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const CLOSING_ANSWER: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
/// How long a step beside the measured ones may take.
pub(crate) const STEP_LIMIT: Duration = Duration::from_secs(15);

/// A distance, and whether UDP gets through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) profile: Profile,
    pub(crate) udp: bool,
}

impl Path {
    /// All of them; a filter of the trials' names chooses.
    pub(crate) fn all() -> Vec<Self> {
        let with_both = |profile: &Profile| [true, false].map(|udp| Self { profile: *profile, udp });
        PROFILES.iter().flat_map(with_both).collect()
    }

    pub(crate) fn round_trip(self) -> Duration {
        self.profile
            .distance
            .map_or(Duration::ZERO, |distance| distance.round_trip)
    }

    /// A tailnet at this distance.
    pub(crate) async fn surroundings(self, setting: &Setting) -> Result<Surroundings, Error> {
        nat::remember().await?;
        if !self.udp {
            nat::block_udp().await?;
        }
        setting.surroundings_at(self.profile.distance).await
    }

    /// A function at this distance.
    pub(crate) async fn world(self, setting: &Setting, adjust: impl FnOnce(&mut Function)) -> Result<World, Error> {
        self.surroundings(setting).await?.deploy(adjust).await
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let udp = if self.udp { "UDP" } else { "no UDP" };
        write!(f, "{}, {udp}", self.profile.name)
    }
}

/// What a request goes to: a server of the test, behind the target's machine or another one.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    machine: Ipv4Addr,
    raw: RawTarget,
}

impl Server {
    /// One that keeps idle connections for so long.
    pub(crate) async fn keeping(world: &World, idle_limit: Duration) -> Result<Self, Error> {
        Self::start(world, idle_limit, ANSWER).await
    }

    /// One that closes each connection after its answer.
    pub(crate) async fn closing(world: &World) -> Result<Self, Error> {
        Self::start(world, Duration::from_secs(75), CLOSING_ANSWER).await
    }

    async fn start(world: &World, idle_limit: Duration, answer: &'static str) -> Result<Self, Error> {
        let raw = RawTarget::keeping(idle_limit).await.map_err(Error::Runtime)?;
        let send = Move::Send(answer.into());
        let moves = if answer == CLOSING_ANSWER {
            vec![send, Move::Close]
        } else {
            vec![send]
        };
        raw.play(moves);
        let machine = world.surroundings.target.node.address();
        Ok(Self { machine, raw })
    }

    /// The same server behind another machine.
    pub(crate) fn behind(&self, machine: Ipv4Addr) -> Self {
        Self {
            machine,
            raw: self.raw.clone(),
        }
    }

    /// How long a request took, and the status of its answer; 0 if there was none.
    pub(crate) async fn ask(&self, world: &World, method: &str) -> Sample {
        let body = if method == "POST" {
            Bytes::from_static(b"a small body")
        } else {
            Bytes::new()
        };
        let request = world
            .url()
            .request_to(self.machine, self.raw.address().port(), method, "/");
        let request = request.body(body).unwrap();
        let began = Instant::now();
        let answer = world.url().send(request).await;
        let took = began.elapsed();
        let status = match &answer {
            Ok(answer) if answer.status() == 200 => 200,
            Ok(answer) => {
                eprintln!(
                    "    {}: {:?} after {took:.1?}",
                    answer.status(),
                    answer.headers().get("ts-error-message")
                );
                answer.status().as_u16()
            }
            Err(error) => {
                eprintln!("    {error} after {took:.1?}");
                0
            }
        };
        Sample { took, status }
    }
}

/// Waits until the environment that was just asked is frozen, from event number `since` on.
pub(crate) async fn frozen(world: &World, since: usize) -> Result<(), Error> {
    reached(world, since, "frozen").await
}

/// What the function did beside its requests, since this was made.
pub(crate) struct Watch {
    registrations: u64,
    flows: BTreeSet<u16>,
}

impl Watch {
    pub(crate) async fn start(world: &World) -> Result<Self, Error> {
        Ok(Self {
            registrations: registrations(world).await?,
            flows: nat::flows().await?,
        })
    }

    /// Registrations since, and TCP flows that are new.
    pub(crate) async fn seen(&self, world: &World) -> Result<(u64, usize), Error> {
        let new_flows = nat::flows().await?.difference(&self.flows).count();
        Ok((registrations(world).await? - self.registrations, new_flows))
    }
}

async fn registrations(world: &World) -> Result<u64, Error> {
    Ok(world.surroundings.control.counts("lambda-proxy").await?.registrations())
}

/// The whole seconds that an environment variable lists, or those by default.
pub(crate) fn seconds(variable: &str, default: &[u64]) -> Vec<Duration> {
    let listed = std::env::var(variable).ok();
    let chosen = listed.map_or_else(
        || default.to_vec(),
        |text| text.split(',').map(|number| number.trim().parse().unwrap()).collect(),
    );
    chosen.into_iter().map(Duration::from_secs).collect()
}

/// Waits until an environment came into this state, from event number `since` on.
pub(crate) async fn reached(world: &World, since: usize, wanted: &'static str) -> Result<(), Error> {
    let reached = world.lambda.events.find(since, |event| {
        matches!(event, Event::Environment { state, .. } if state == wanted).then_some(())
    });
    Ok(within(STEP_LIMIT, &format!("an environment that is {wanted}"), reached).await?)
}

/// How often each row is measured.
pub(crate) fn repeats() -> usize {
    std::env::var("REPEATS").map_or(1, |number| number.parse().unwrap())
}
