//! The tailscaled process: how it is started, what it prints, and how it ended.

pub mod output;
pub mod process;
