//! The Lambda extension: joins the tailnet while the environment starts, keeps it, and leaves it at the end.
//!
//! An arrow means "may name": `lifecycle` → `ipc`, `doors` → `preflight` → `policy`, `connectivity`,
//! `supervisor` → `connectivity`, `auth`, `tailscaled` → `localapi`. Nothing points back; what must go up goes by a channel.

pub mod auth;
pub mod clock;
pub mod config;
pub mod connectivity;
pub mod diagnose;
pub mod doors;
pub mod error;
pub mod ipc;
pub mod lifecycle;
pub mod localapi;
pub mod minutes;
pub mod policy;
pub mod preflight;
pub mod supervisor;
pub mod tailscaled;
