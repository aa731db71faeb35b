//! An HTTP proxy on `localhost:8055` for callers of a tailnet's proxy: requests into the tailnet are signed, and sent to the
//! proxy's Function URL, or to Lambda's Invoke API; all others go straight to where they are for.
//!
//! An arrow means "may name": `lifecycle` → `server` → `signed`, `direct` → `invoke` → `request`, `response`, `upstream` → `error`, `config` →
//! `body`.

mod body;
pub mod config;
mod direct;
pub mod error;
mod headers;
mod invoke;
pub mod lifecycle;
mod request;
mod response;
pub mod server;
mod signature;
mod signed;
mod upstream;
