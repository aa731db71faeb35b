//! The callers in examples/, each run as its users run it: they sign, and the machine answers.
#![allow(clippy::unwrap_used)]

mod caller;
mod doctor;
mod examples;
mod signers;

use std::process::ExitCode;

use testbed::suite::{SuiteContext, TestResult, run_all};

fn main() -> ExitCode {
    run_all(&[examples::trials, signers::trials, doctor::trials])
}
