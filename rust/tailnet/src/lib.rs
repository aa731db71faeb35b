//! How a process in the execution environment reaches the tailnet.
//!
//! The extension alone owns the tailnet: it starts, watches and revives tailscaled. A process that wants a connection
//! asks it for a route ([`protocol`]), opens the connection through tailscaled's SOCKS5 server ([`dial`]), and has the
//! path verified meanwhile ([`connect`]). What it owes to HTTP on the way is in [`intermediary`], and to
//! Lambda's events in [`event_body`].

pub mod connect;
pub mod diagnosis;
pub mod dial;
pub mod event_body;
pub mod host;
pub mod intermediary;
pub mod protocol;
mod socket_router;
pub mod target_list;

pub use self::socket_router::SocketRouter;
