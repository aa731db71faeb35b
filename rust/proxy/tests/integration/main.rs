//! The proxy among fake neighbours on loopback: no tailnet, no Lambda, every byte in view.
#![allow(clippy::unwrap_used)]

mod fakes;
mod forwarding;
mod framing;
mod fuzzed;
mod invoked;
mod kept;
mod metrics;
mod profiles;
mod properties;
mod streaming;
mod tls;
mod warming;
