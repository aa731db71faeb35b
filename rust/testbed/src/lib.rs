//! A real tailnet, AWS and Lambda on one machine.
//!
//! [`namespace`] opens a network of one's own that nothing leaves; in it run a [`control`] server, a [`target`] with a
//! real tailscaled, [`aws`]'s services, and [`lambda`] with the zips that ship. [`stack`] is all of it together. The function can be put
//! at a [`distance`] from the rest.

pub mod aws;
pub mod binaries;
pub mod bounds;
pub mod bundle;
pub mod caller_function;
pub mod caller_layer;
mod cloudwatch;
pub mod control;
pub mod deadline;
pub mod distance;
pub mod emulated;
mod error;
mod event;
pub mod expect;
pub mod fault_proxy;
pub mod faults;
pub mod freeze;
pub mod function_url;
pub mod http_call;
pub mod http_server;
pub mod invoke_api;
pub mod lambda;
pub mod load;
pub mod local_api;
pub mod log;
pub mod measuring;
pub mod namespace;
pub mod nat;
pub mod network;
pub mod node;
pub mod package;
pub mod port_forwarder;
pub mod process;
pub mod processor;
pub mod raw_target;
pub mod scripted_handler;
pub mod server;
pub mod signed;
pub mod stack;
pub mod starts;
pub mod suite;
pub mod target;
pub mod vitals;
pub mod walkthrough;
pub mod watch;

pub use error::Error;
