//! The ways into the tailnet for clients that are not ours, on the real stack: an HTTP proxy beside SOCKS5, local ports for
//! drivers, and what becomes of their connections in freezes.
#![allow(clippy::unwrap_used)]

mod clients;
mod databases;
mod forwards;
mod images;
mod javascript;
mod joining;
mod postgres;
mod proxies;
mod python;
mod rust_clients;
mod servers;

use std::process::ExitCode;

use testbed::suite::run_all;

fn main() -> ExitCode {
    if let Some(code) = rust_clients::run() {
        return code;
    }
    run_all(&[
        proxies::trials,
        forwards::trials,
        databases::trials,
        joining::trials,
        images::trials,
    ])
}
