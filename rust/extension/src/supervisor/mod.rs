//! The tailscaled process and its login: one state machine, which restarts the one and retries the other.

pub mod backoff;
pub mod exit_node;
mod login;
pub mod process;
pub mod state;
