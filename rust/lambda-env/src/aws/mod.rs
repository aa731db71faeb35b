//! How the programs call AWS: as whom and where, which Lambda's environment says, and by what connections.
//!
//! aws-config would look for both in a dozen places, and brings other services' clients for that; what the SDKs' own
//! HTTP client does beyond [`Wire`] is of no use to a program that is frozen between its calls.

mod access;
mod call;
mod json_refusal;
mod proxy;
mod retry;
pub mod secrets_manager;
mod tls;
mod wire;

pub use access::{Access, regional_endpoint};
pub use call::{Call, CallError};
pub use json_refusal::JsonRefusal;
pub use proxy::{ProxyVariables, leads_to_own_port};
pub use tls::PublicTls;
pub use wire::{Connection, NotSent, Wire};
