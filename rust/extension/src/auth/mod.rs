//! What the machine logs in with.

pub mod attributes;
pub mod config;
pub mod key_source;
pub mod keys;
pub mod oauth;
mod parameter_store;
pub mod secret;
mod secrets_manager;
pub mod stored_key;
pub mod sts;
pub mod tailscale_api;
pub mod workload_identity;
