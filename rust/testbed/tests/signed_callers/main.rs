//! Callers that sign nothing: unmodified HTTP clients, told of the caller's layer by `HTTP_PROXY` alone.
#![allow(clippy::unwrap_used)]

mod clients;
mod function;
mod invoke;
mod layer;
mod program;

use std::process::ExitCode;

use testbed::suite::{Outcome, Setting, run, trial};

fn main() -> ExitCode {
    run(|setting| {
        let trials = [
            clients::trials(setting),
            layer::trials(setting),
            function::trials(setting),
            invoke::trials(setting),
            program::trials(setting),
        ];
        trials.into_iter().flatten().collect()
    })
}
