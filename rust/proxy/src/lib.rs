//! The Lambda handler: takes a Function URL's request to a target in the tailnet, and brings the target's response back.

pub mod allowlist;
pub mod ca_certificates;
mod certificate;
pub mod clock;
pub mod config;
mod connect;
pub mod diagnose;
pub mod error;
pub mod event;
pub mod forward;
pub mod handler;
pub mod headers;
pub mod metrics;
pub mod payload;
mod pool;
mod read_to_end;
pub mod request;
pub mod request_log;
pub mod response;
pub mod runtime_api;
pub mod service;
pub mod signature;
pub mod target;
mod timeouts;
pub mod tls;
pub mod warm_up;
pub mod warmer;
