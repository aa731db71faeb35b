//! The product on a real tailnet: what ships, run by local-lambda, between a real caller and a real target.
//!
//! All of it happens in namespaces of its own: nothing leaves the machine, and nothing stays.
#![allow(clippy::unwrap_used)]

mod control_server;
mod deaths;
mod demo;
mod journey;
mod surroundings;
mod warming;

use std::{process::ExitCode, time::Duration};

use testbed::suite::{Outcome, Setting, run, trial};

fn main() -> ExitCode {
    run(|setting| {
        let trials = [
            surroundings::trials(setting),
            control_server::trials(setting),
            journey::trials(setting),
            deaths::trials(setting),
            warming::trials(setting),
        ];
        trials.into_iter().flatten().collect()
    })
}

/// Starts are of no interest here.
fn quiet(_: &str, _: Duration, _: &str) {}
