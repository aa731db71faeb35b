//! Whether the path to each peer is alive, and how it is brought back after a freeze.
//!
//! While the environment is frozen, the NAT in front of it forgets its flows, or the other ends close them. tailscaled does
//! not notice for a minute or more, because its own clocks stood still. WireGuard's sessions may be dead as well: its timers
//! fired while the link was still dead, or its peer has long forgotten a session that looks young here.

pub mod evidence;
mod greeting;
mod look;
pub mod monitor;
mod probe;
mod repair;
pub mod rtt;
mod warm_up;
