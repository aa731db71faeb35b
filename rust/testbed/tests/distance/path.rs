//! The paths that are measured, and requests over them.

use std::{fmt, time::Duration};

use testbed::{
    Error,
    distance::{PROFILES, Profile},
    lambda::Function,
    nat,
    stack::{Backends, TestStack},
    suite::SuiteContext,
};

/// How long servers keep idle connections: longer than any quiet.
pub(crate) const KEPT: Duration = Duration::from_secs(75);

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

    /// Whether a bare tailscaled can be measured beside the function: without a link it stands where nothing blocks its UDP.
    pub(crate) fn has_bare(self) -> bool {
        self.udp || self.profile.distance.is_some()
    }

    /// A tailnet at this distance.
    pub(crate) async fn backends(self, context: &SuiteContext) -> Result<Backends, Error> {
        nat::reset().await?;
        if !self.udp {
            nat::block_udp().await?;
        }
        context.backends_at(self.profile.distance).await
    }

    /// A function at this distance.
    pub(crate) async fn stack(
        self,
        context: &SuiteContext,
        adjust: impl FnOnce(&mut Function),
    ) -> Result<TestStack, Error> {
        self.backends(context).await?.deploy(adjust).await
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let udp = if self.udp { "UDP" } else { "no UDP" };
        write!(f, "{}, {udp}", self.profile.name)
    }
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

/// How often each row is measured.
pub(crate) fn repeats() -> usize {
    std::env::var("REPEATS").map_or(1, |number| number.parse().unwrap())
}
