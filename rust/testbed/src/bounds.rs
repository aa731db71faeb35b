//! What each row may take: the goals. A row is held to its bound only where `DISTANCE_BOUNDS` asks for it.

use std::time::Duration;

use crate::path::Path;

/// Round trips of a first answer: WireGuard's handshake, TCP, HTTP.
const FIRST_ROUND_TRIPS: u32 = 3;
/// What a first answer may take beyond them.
const FIRST_EXTRA: Duration = Duration::from_millis(20);

/// The first request after INIT, which has waited for the login.
pub(crate) fn first_answer(path: Path) -> Duration {
    path.round_trip() * FIRST_ROUND_TRIPS + FIRST_EXTRA
}

/// After quiet, or a freeze with live flows: over a kept connection, one round trip; anything else, two.
const KEPT_ROUND_TRIPS: u32 = 1;
const OTHER_ROUND_TRIPS: u32 = 2;
/// What those may take beyond them.
const WARM_EXTRA: Duration = Duration::from_millis(10);
/// After a freeze with dead flows: DERP's reconnect (TCP, TLS, upgrade) and what a warm request takes besides.
const DEAD_ROUND_TRIPS: u32 = 3 + 3 + 2;
/// What that may take beyond them: what it takes without any distance.
const DEAD_EXTRA: Duration = Duration::from_millis(30);

/// A GET over a kept connection, after quiet or a freeze with live flows.
pub(crate) fn kept(path: Path) -> Duration {
    path.round_trip() * KEPT_ROUND_TRIPS + WARM_EXTRA
}

/// Any other request then.
pub(crate) fn other(path: Path) -> Duration {
    path.round_trip() * OTHER_ROUND_TRIPS + WARM_EXTRA
}

/// Any request after a freeze with dead flows.
pub(crate) fn dead(path: Path) -> Duration {
    path.round_trip() * DEAD_ROUND_TRIPS + DEAD_EXTRA
}

/// How many times the processor's time of a dial in a small tailnet one in a large tailnet may take.
const CROWDED: f64 = 1.2;

/// A dial in a large tailnet, by what it takes in a small one.
pub(crate) fn crowded(small: Duration) -> Duration {
    small.mul_f64(CROWDED)
}

/// Whether rows are held to their bounds.
pub(crate) fn enforced() -> bool {
    std::env::var("DISTANCE_BOUNDS").is_ok_and(|value| value == "1")
}
