//! What the extension does beside logging in, on the real stack: exit nodes, client secrets, no secret at all, a
//! Secrets Manager that fails, functions that are not ours, and the end.
#![allow(clippy::unwrap_used)]

mod alone;
mod ending;
mod exit_nodes;
mod identity;
mod keyless;
mod reach;
mod secrets;
mod server;

use std::process::ExitCode;

use testbed::suite::run_all;

fn main() -> ExitCode {
    run_all(&[
        exit_nodes::trials,
        alone::trials,
        reach::trials,
        keyless::trials,
        secrets::trials,
        ending::trials,
    ])
}
