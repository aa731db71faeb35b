//! The paths that are measured, and requests over them.

use std::{
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use testbed::{
    Error,
    deadline::within,
    distance::{PROFILES, Profile},
    lambda::{Event, Function},
    nat,
    suite::Setting,
    world::World,
};

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

    /// A function at this distance.
    pub(crate) async fn world(self, setting: &Setting, adjust: impl FnOnce(&mut Function)) -> Result<World, Error> {
        nat::remember().await?;
        if !self.udp {
            nat::block_udp().await?;
        }
        setting.world_at(self.profile.distance, adjust).await
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let udp = if self.udp { "UDP" } else { "no UDP" };
        write!(f, "{}, {udp}", self.profile.name)
    }
}

/// How long a request to the target took, and the status of its answer.
pub(crate) async fn send(world: &World, method: &str, path: &str) -> Result<(Duration, u16), Error> {
    let body = if method == "POST" {
        Bytes::from_static(b"a small body")
    } else {
        Bytes::new()
    };
    let request = world.request(method, path).body(body).unwrap();
    let began = Instant::now();
    let answer = world.url().send(request).await?;
    let took = began.elapsed();
    if answer.status() != 200 {
        eprintln!(
            "  {method} {path}: {answer:?} after {took:.1?}; {}",
            world.lambda.process.log().tail()
        );
    }
    Ok((took, answer.status().as_u16()))
}

/// Waits until an environment came into this state, from event number `since` on.
pub(crate) async fn reached(world: &World, since: usize, wanted: &'static str) -> Result<(), Error> {
    let reached = world.lambda.events.find(since, |event| {
        matches!(event, Event::Environment { state, .. } if state == wanted).then_some(())
    });
    Ok(within(STEP_LIMIT, &format!("an environment that is {wanted}"), reached).await?)
}
