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

/// Whether rows are held to their bounds.
pub(crate) fn enforced() -> bool {
    std::env::var("DISTANCE_BOUNDS").is_ok_and(|value| value == "1")
}
