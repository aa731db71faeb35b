//! Each way in which a function cannot join the tailnet gives its own message, soon: proven on the real stack.
#![allow(clippy::unwrap_used)]

mod credentials;
mod login;
mod occupy;
mod peers;
mod supervision;

use std::process::ExitCode;

use testbed::{
    expect::{fails_soon, get, logged, recovers, says_why},
    suite::{Outcome, Setting, awake, run, set, trial},
};

fn main() -> ExitCode {
    run(|setting| {
        let trials = [
            login::trials(setting),
            credentials::trials(setting),
            supervision::trials(setting),
            peers::trials(setting),
        ];
        trials.into_iter().flatten().collect()
    })
}
