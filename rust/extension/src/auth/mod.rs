//! What the machine logs in with.

pub mod key_source;
pub mod oauth;
pub mod secret;
pub mod secrets_manager;
