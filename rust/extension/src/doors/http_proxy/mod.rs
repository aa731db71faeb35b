//! An HTTP proxy (RFC 9110 section 7.3): tunnels by CONNECT, and requests with an absolute-form target.

pub(crate) mod connection;
mod forward;
mod headers;
mod pool;
mod response;
mod target;
