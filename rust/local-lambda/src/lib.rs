//! A Lambda host on one's own machine, for development and tests.
//!
//! [`cli`] is a run; a [`fleet::Fleet`] has the environments, each a sandbox whose processes talk to the Runtime API and
//! the Extensions API as on the service; [`function_url`] stands in front of it.

pub mod cli;
pub mod config;
pub mod control;
mod environment;
pub mod event_log;
pub mod exit_status;
pub mod fleet;
pub mod function_url;
pub mod invocation;
mod lambda_api;
pub mod package;
mod process_variables;
pub mod sandbox;
