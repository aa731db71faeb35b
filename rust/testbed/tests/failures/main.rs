//! Each way in which a function cannot join the tailnet gives its own message, soon: proven on the real stack.
#![allow(clippy::unwrap_used)]

mod credentials;
mod login;
mod peers;
mod supervision;

use std::process::ExitCode;

use testbed::{
    expect::{answered, fails_soon, get, logged, recovers, says_why},
    suite::{SuiteContext, TestResult, run_all, set, without_freeze},
};

fn main() -> ExitCode {
    run_all(&[login::trials, credentials::trials, supervision::trials, peers::trials])
}
