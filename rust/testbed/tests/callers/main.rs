//! The callers in examples/, each run as its users run it: they sign, and the machine answers.
#![allow(clippy::unwrap_used)]

mod caller;
mod doctor;
mod examples;
mod signers;

use std::process::ExitCode;

use testbed::suite::{Outcome, Setting, run, trial};

fn main() -> ExitCode {
    run(|setting| {
        let trials = [
            examples::trials(setting),
            signers::trials(setting),
            doctor::trials(setting),
        ];
        trials.into_iter().flatten().collect()
    })
}
