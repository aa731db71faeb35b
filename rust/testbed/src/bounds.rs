//! What a request may take at a distance: the goals, in round trips and what is not the network's.

use std::time::Duration;

/// The first request after INIT, which has waited for the login: WireGuard's handshake, TCP, HTTP.
pub fn first_answer(round_trip: Duration) -> Duration {
    round_trip * 3 + Duration::from_millis(20)
}

/// A GET over a kept connection, after quiet or a freeze with live flows.
pub fn kept(round_trip: Duration) -> Duration {
    round_trip + Duration::from_millis(10)
}

/// Any other request then.
pub fn other(round_trip: Duration) -> Duration {
    round_trip * 2 + Duration::from_millis(10)
}

/// Any request after a freeze with dead flows, in the median: DERP's reconnect (TCP, TLS, upgrade), what a warm request takes
/// besides, and what it takes without any distance.
pub fn dead(round_trip: Duration) -> Duration {
    round_trip * (3 + 3 + 2) + Duration::from_millis(30)
}

/// The longest of those.
pub fn longest_dead(round_trip: Duration) -> Duration {
    dead(round_trip) + Duration::from_secs(1)
}

/// The processor's time of a dial in a large tailnet, by what it takes in a small one.
pub fn crowded(small: Duration) -> Duration {
    small.mul_f64(1.2)
}
