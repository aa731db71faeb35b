//! The ways in for processes that are not our proxy: SOCKS5 and an HTTP proxy on one port, and local ports that lead to one
//! target each. All of them check, wait, repair and dial alike, as the proxy does ([`outbound`]).
//!
//! An arrow means "may name": `listeners` → `server` → `socks5`, `http_proxy` → `outbound`, `flow`; `listeners` → `forwards` →
//! `outbound`, `flow`.

pub mod config;
mod connections;
pub mod flow;
pub mod forwards;
mod half_close;
mod http_proxy;
pub mod listeners;
mod outbound;
pub mod server;
mod socks5;
pub mod target;
mod throttled_log;
