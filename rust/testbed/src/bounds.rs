//! What a request may take at a distance: the goals, in round trips and what is not the network's.

use std::time::Duration;

/// Round trips of a first answer: WireGuard's handshake, TCP, HTTP.
const FIRST_ROUND_TRIPS: u32 = 3;
/// What a first answer may take beyond them.
const FIRST_EXTRA: Duration = Duration::from_millis(20);
/// After quiet, or a freeze with live flows: over a kept connection, one round trip; anything else, two.
const KEPT_ROUND_TRIPS: u32 = 1;
const OTHER_ROUND_TRIPS: u32 = 2;
/// What those may take beyond them.
const WARM_EXTRA: Duration = Duration::from_millis(10);
/// After a freeze with dead flows: DERP's reconnect (TCP, TLS, upgrade) and what a warm request takes besides.
const DEAD_ROUND_TRIPS: u32 = 3 + 3 + 2;
/// What that may take beyond them: what it takes without any distance.
const DEAD_EXTRA: Duration = Duration::from_millis(30);
/// How much longer than its goal for the median any single request after dead flows may take.
const DEAD_LONGEST: Duration = Duration::from_secs(1);
/// How many times the processor's time of a dial in a small tailnet one in a large tailnet may take.
const CROWDED: f64 = 1.2;

/// The first request after INIT, which has waited for the login.
pub fn first_answer(round_trip: Duration) -> Duration {
    round_trip * FIRST_ROUND_TRIPS + FIRST_EXTRA
}

/// A GET over a kept connection, after quiet or a freeze with live flows.
pub fn kept(round_trip: Duration) -> Duration {
    round_trip * KEPT_ROUND_TRIPS + WARM_EXTRA
}

/// Any other request then.
pub fn other(round_trip: Duration) -> Duration {
    round_trip * OTHER_ROUND_TRIPS + WARM_EXTRA
}

/// Any request after a freeze with dead flows, in the median.
pub fn dead(round_trip: Duration) -> Duration {
    round_trip * DEAD_ROUND_TRIPS + DEAD_EXTRA
}

/// The longest of those.
pub fn longest_dead(round_trip: Duration) -> Duration {
    dead(round_trip) + DEAD_LONGEST
}

/// A dial in a large tailnet, by what it takes in a small one.
pub fn crowded(small: Duration) -> Duration {
    small.mul_f64(CROWDED)
}
