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

use testbed::suite::run;

fn main() -> ExitCode {
    if let Some(code) = rust_clients::run() {
        return code;
    }
    run(|setting| {
        let trials = [
            proxies::trials(setting),
            forwards::trials(setting),
            databases::trials(setting),
            joining::trials(setting),
            images::trials(setting),
        ];
        trials.into_iter().flatten().collect()
    })
}
