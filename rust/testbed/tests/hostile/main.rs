//! Whatever a caller sends is refused by the proxy or reaches the target as it is; whatever a target does ends in an
//! answer, in time, and in bounded memory; whatever fails meanwhile, each request has one answer.
#![allow(clippy::unwrap_used)]

mod actor;
mod corpus;
mod event;
mod faults;
mod plays;
mod requests;
mod targets;

use std::process::ExitCode;

use testbed::suite::{SuiteContext, TestResult, run_all, set, stream, without_freeze};

fn main() -> ExitCode {
    run_all(&[requests::trials, targets::trials, faults::trials])
}
