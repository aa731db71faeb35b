//! What the extension does beside logging in, on the real stack: exit nodes, client secrets, no secret at all, a
//! Secrets Manager that fails, functions that are not ours, and the end.
#![allow(clippy::unwrap_used)]

mod alone;
mod ending;
mod exit_nodes;
mod keyless;
mod oauth;
mod reach;
mod secrets;
mod server;
mod sts;
mod tailscale_api;

use std::process::ExitCode;

use testbed::suite::run;

fn main() -> ExitCode {
    run(|setting| {
        let trials = [
            exit_nodes::trials(setting),
            alone::trials(setting),
            reach::trials(setting),
            oauth::trials(setting),
            keyless::trials(setting),
            secrets::trials(setting),
            ending::trials(setting),
        ];
        trials.into_iter().flatten().collect()
    })
}
